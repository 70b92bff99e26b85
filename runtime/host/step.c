/* step.c - see tidepool.h: a loop of ours, turned by the host's. */
#include "host/inside.h"

#include "base/clock.h"
#include "script/task.h"

static bool can_step(const tide_runtime *runtime)
{
    return host_check(runtime) == TIDE_OK && runtime->has_own_loop;
}

int tide_poll_fd(const tide_runtime *runtime)
{
    return can_step(runtime) ? loop_poll_fd(runtime->vm->loop) : -1;
}

int tide_next_timeout_ms(const tide_runtime *runtime)
{
    return can_step(runtime) ? loop_next_timeout_ms(runtime->vm->loop) : -1;
}

/* Since when the first ready task waits: the rest came later. */
static uint64_t oldest_ready_ns(const struct vm *vm)
{
    struct list_node *node = list_first(&vm->ready);

    if (node == NULL)
        return 0;
    return elapsed_ns(container_of(node, struct task, node)->ready_ns,
                      loop_now_ns(vm->loop));
}

int tide_step(tide_runtime *runtime, uint64_t budget_ns, tide_step_info *info)
{
    struct vm *vm = runtime->vm;
    uint64_t from_ns, until_ns, now_ns;
    int code = host_check_outside(runtime);

    if (code != TIDE_OK)
        return code;
    if (!runtime->has_own_loop)
        return host_fail(runtime, TIDE_MISUSED,
                         "the loop is the host's, which turns it");
    from_ns = loop_system_ns();
    until_ns =
        budget_ns < UINT64_MAX - from_ns ? from_ns + budget_ns : UINT64_MAX;
    runtime->is_stepping = true;
    do {
        loop_turn_until(vm->loop, until_ns);
        now_ns = loop_system_ns();
    } while (now_ns < until_ns && loop_next_timeout_ms(vm->loop) == 0);
    runtime->is_stepping = false;
    if (info != NULL)
        *info = (tide_step_info){ .used_ns = now_ns - from_ns,
                                  .ready_left = vm->ready.len,
                                  .oldest_ready_ns = oldest_ready_ns(vm) };
    return TIDE_OK;
}
