/* bind_request.h - requests as Lua values, each handled in a task of its own.
 */
#ifndef TIDEPOOL_SCRIPT_BIND_REQUEST_H
#define TIDEPOOL_SCRIPT_BIND_REQUEST_H

#include "http/http.h"
#include "script/vm.h"

/* Runs the function of the registry with the request: what it gives, status,
 * headers and body, is the reply. */
void request_hand_out(struct vm *vm, int handler_ref,
                      struct http_request *request);

#endif
