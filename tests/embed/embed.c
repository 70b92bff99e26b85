/* embed.c - see embed.h. */
#include "embed.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

void wait_for_work(const tide_runtime *runtime)
{
    struct pollfd item = { .fd = tide_poll_fd(runtime), .events = POLLIN };
    int timeout_ms = tide_next_timeout_ms(runtime);

    assert_true(item.fd >= 0);
    poll(&item, 1, timeout_ms < 0 ? 20000 : timeout_ms);
}

tide_runtime *open_script(const char *text)
{
    tide_runtime *runtime = open_runtime();

    if (tide_load(runtime, "host.lua", text) != TIDE_OK)
        fail_msg("%s", tide_last_error(runtime));
    return runtime;
}

static void on_free(void *ud)
{
    struct answer *answer = ud;

    answer->freed++;
}

tide_request request_for(struct answer *answer, const char *name,
                         const char *payload)
{
    tide_request request;

    tide_request_init(&request);
    request.name = name;
    request.payload = payload;
    request.len = payload != NULL ? strlen(payload) : 0;
    request.ud = answer;
    request.free_ud = on_free;
    return request;
}

void on_reply(void *ud, const tide_reply *reply)
{
    struct answer *answer = ud;

    answer->count++;
    answer->code = reply->code;
    snprintf(answer->error, sizeof(answer->error), "%s", reply->error);
    snprintf(answer->payload, sizeof(answer->payload), "%.*s", (int)reply->len,
             reply->len > 0 ? (const char *)reply->payload : "");
}

void ask(tide_runtime *runtime, struct answer *answer, const char *name,
         const char *payload)
{
    tide_request request = request_for(answer, name, payload);

    memset(answer, 0, sizeof(*answer));
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    assert_int_equal(answer->count, 0);
    step_until(runtime, answer->count > 0);
    assert_int_equal(answer->count, 1);
    assert_int_equal(answer->freed, 1);
}

int open_black_hole(char *url, size_t size, const char *form)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(url, size, form, ntohs(address.sin_port));
    return fd;
}
