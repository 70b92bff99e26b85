/* access_log.c - see access_log.h. */
#include "script/access_log.h"

#include "http/request.h"
#include "script/bind_request.h"

#include <string.h>

/* Longer ones are cut; every line is bounded. */
enum { PATH_MOST = 256, METHOD_MOST = 32, AGENT_MOST = 128 };

void access_log_read(lua_State *L, int index, struct access_log *log)
{
    lua_getfield(L, index, "sample");
    log->from = sample_from(luaL_optnumber(L, -1, 1));
    lua_getfield(L, index, "slow");
    log->slow_ns = (uint64_t)(luaL_optnumber(L, -1, 0) * 1e9);
    lua_pop(L, 2);
    log->is_on = true;
}

/* Whoever looks for what went wrong finds all of it, whatever the share. */
static bool is_wanted(const struct access_log *log,
                      const struct http_access *access,
                      const struct origin *origin)
{
    return access->status >= 500 || access->is_cut ||
           (log->slow_ns > 0 && access->took_ns >= log->slow_ns) ||
           origin == NULL || origin->key >= log->from;
}

/* NULL for what is not known, which then is no field. */
static const char *copied(char *out, size_t most, const struct http_text *text)
{
    size_t len;

    if (text == NULL || text->len == 0)
        return NULL;
    len = text->len < most ? text->len : most;
    memcpy(out, text->bytes, len);
    out[len] = '\0';
    return out;
}

/* The path without its query, which may hold secrets; what breaks a line is
 * escaped by who writes it. */
static void write_line(struct vm *vm, const struct http_access *access,
                       const struct origin *origin)
{
    const struct http_request *request = access->request;
    const struct http_text *agent_text = NULL;
    const char *route =
        origin != NULL && origin->route[0] ? origin->route : NULL;
    char method[METHOD_MOST + 1], path[PATH_MOST + 1], agent[AGENT_MOST + 1];

    if (request != NULL)
        agent_text = http_request_header(request, "user-agent");
    log_event(&vm->log, LOG_INFO, "request",
              LOG_STR("method", request == NULL ? NULL
                                                : copied(method, METHOD_MOST,
                                                         &request->method)),
              LOG_STR("path", request == NULL
                                  ? NULL
                                  : copied(path, PATH_MOST, &request->path)),
              LOG_STR("route", route), LOG_INT("status", access->status),
              LOG_INT("bytes", access->body_bytes),
              LOG_MS("ms", access->took_ns), LOG_STR("remote", access->remote),
              LOG_STR("agent", copied(agent, AGENT_MOST, agent_text)),
              LOG_STR("cut", access->is_cut ? "true" : NULL),
              LOG_STR("refused", access->is_refused ? "true" : NULL));
}

/* The request's, or one made for the line alone. */
static struct origin *origin_for(struct vm *vm,
                                 const struct http_access *access)
{
    const struct http_request *request = access->request;
    const struct script_request *box =
        request != NULL && !access->is_refused ? request->ud : NULL;

    if (box != NULL && box->origin != NULL)
        return origin_ref(box->origin);
    if (request == NULL)
        return origin_new(&vm->origins, NULL, 0);
    return origin_new(&vm->origins, request->headers, request->n_headers);
}

void access_log_write(struct vm *vm, const struct access_log *log,
                      const struct http_access *access)
{
    struct origin *origin = origin_for(vm, access);

    if (is_wanted(log, access, origin)) {
        vm->speaks_for = origin;
        write_line(vm, access, origin);
        vm->speaks_for = NULL;
    }
    origin_unref(origin);
}
