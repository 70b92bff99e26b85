/*
 * fuzz_trace.c - traces, plain and compressed.
 *
 * Input: a byte: 0 gives the rest to the reader as it is, 1 compresses it
 * before, 2 cuts off the end of that; '@' and a name in front of a line choose
 * a pool.
 */
#include "fuzz.h"

#include "pool/flight.h"
#include "trace/trace.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

static void write_all(int fd, const void *bytes, size_t size)
{
    FUZZ_CHECK(write(fd, bytes, size) == (ssize_t)size);
}

static void write_compressed(int fd, const char *text, size_t len, bool is_cut)
{
    z_stream stream = { .next_in = (Bytef *)text, .avail_in = (uInt)len };
    uLong most;
    Bytef *out;

    FUZZ_CHECK(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8,
                            Z_DEFAULT_STRATEGY) == Z_OK);
    most = deflateBound(&stream, len);
    out = malloc(most);
    stream.next_out = out;
    stream.avail_out = (uInt)most;
    FUZZ_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    write_all(fd, out, most - stream.avail_out - (is_cut ? 12 : 0));
    deflateEnd(&stream);
    free(out);
}

static void check(const struct trace *trace)
{
    FUZZ_CHECK(trace->n_pools <= TRACE_POOLS_MAX);
    FUZZ_CHECK(trace->pool < trace->n_pools);
    FUZZ_CHECK(trace->n_demands == 0 || trace->demands[0].at_ns == 0);
    for (size_t i = 0; i < trace->n_demands; i++) {
        const struct trace_demand *demand = &trace->demands[i];

        FUZZ_CHECK(i == 0 || demand->at_ns >= demand[-1].at_ns);
        FUZZ_CHECK(demand->at_ns <= trace->span_ns);
        FUZZ_CHECK(demand->wait_ns <= trace->span_ns);
        FUZZ_CHECK(demand->service_ns <= trace->span_ns);
        FUZZ_CHECK(demand->end < DEMAND_ENDS && demand->class < POOL_CLASSES);
    }
}

FUZZ_TARGET(trace)
{
    struct fuzz_input input = { bytes, size };
    unsigned how = fuzz_byte(&input);
    size_t len;
    char *name = NULL;
    char *text;
    char path[64];
    struct trace trace;
    struct err_text why = { 0 };
    int fd = memfd_create("trace", 0);
    enum err err;

    FUZZ_CHECK(fd >= 0);
    if (input.left > 0 && *input.at == '@')
        name = fuzz_line(&input, &len);
    text = fuzz_rest(&input, &len);
    if ((how & 3) == 0)
        write_all(fd, text, len);
    else
        write_compressed(fd, text, len, (how & 3) == 2);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    err = trace_read(&trace, path, name != NULL ? name + 1 : NULL, &why);
    FUZZ_CHECK(err == ERR_OK || (err == ERR_BADARG && why.text[0] != '\0'));
    if (err == ERR_OK) {
        check(&trace);
        trace_free(&trace);
    }
    close(fd);
    free(text);
    free(name);
    return 0;
}
