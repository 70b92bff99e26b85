/* bind_tls.h - TLS contexts as Lua values, for those that listen and dial. */
#ifndef TIDEPOOL_SCRIPT_BIND_TLS_H
#define TIDEPOOL_SCRIPT_BIND_TLS_H

#include "net/tls.h"
#include "script/vm.h"

/* The one at index, borrowed from its userdata; nil: NULL. */
struct tls_context *tls_at(lua_State *L, int index);

#endif
