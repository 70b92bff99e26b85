/* bind_hooks.h - hooks of pools as functions of Lua: see pool/hook.h. */
#ifndef TIDEPOOL_SCRIPT_BIND_HOOKS_H
#define TIDEPOOL_SCRIPT_BIND_HOOKS_H

struct hook_run;

/* The task of the hook has ended without saying how it went. */
void hook_run_drop(struct hook_run *run);

#endif
