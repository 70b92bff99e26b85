/* origin.c - see origin.h. */
#include "script/origin.h"

#include "http/header.h"
#include "script/bind_request.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t KEY_MASK = ((uint64_t)1 << ORIGIN_KEY_BITS) - 1;

/* ---- what ids are made of */

void origin_source_init(struct origin_source *source, const uint64_t seeds[2])
{
    source->high.state = seeds[0];
    source->low.state = seeds[1];
    source->sampled_from = sample_from(0);
}

uint64_t sample_from(double share)
{
    double all = (double)(KEY_MASK + 1);

    if (!(share > 0))
        return KEY_MASK + 1;
    return share >= 1 ? 0 : (uint64_t)((1 - share) * all);
}

/* FNV-1a, and splitmix64's last steps, for its high bits are poor. */
static uint64_t hash(const char *text)
{
    struct rand mix = { .state = 0xcbf29ce484222325ULL };

    for (; *text != '\0'; text++)
        mix.state = (mix.state ^ (unsigned char)*text) * 0x100000001b3ULL;
    return rand_next(&mix);
}

/* ---- headers */

static bool is_named(const struct http_header *header, const char *name,
                     size_t len)
{
    return header->name.len == len &&
           memcmp(header->name.bytes, name, len) == 0;
}

#define IS_NAMED(header, name) is_named((header), "" name, sizeof(name) - 1)

/* Letters, digits and -_.:/+=@, which nobody has to quote. */
static bool is_id(const struct http_text *text)
{
    if (text->len == 0 || text->len > ORIGIN_ID_MOST)
        return false;
    for (size_t i = 0; i < text->len; i++) {
        char c = text->bytes[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool is_digit = c >= '0' && c <= '9';
        bool is_mark = c != '\0' && strchr("-_.:/+=@", c) != NULL;

        if (!is_letter && !is_digit && !is_mark)
            return false;
    }
    return true;
}

/* Several headers tracestate are one list. */
struct state_text {
    char text[TRACESTATE_MOST + 1];
    size_t len; /* more than TRACESTATE_MOST: it did not fit */
};

static void add_state(struct state_text *state, const struct http_text *value)
{
    size_t comma = state->len > 0 ? 1 : 0;

    if (state->len + comma + value->len > TRACESTATE_MOST) {
        state->len = TRACESTATE_MOST + 1;
        return;
    }
    if (comma)
        state->text[state->len++] = ',';
    memcpy(state->text + state->len, value->bytes, value->len);
    state->len += value->len;
}

/* What a request brings.  Of headers that may stand once two count as none. */
struct brought {
    const struct http_text *id;
    const struct http_text *parent;
    unsigned ids;
    unsigned parents;
    struct state_text state;
};

static void find(struct brought *brought, const struct http_header *headers,
                 size_t n_headers)
{
    for (size_t i = 0; i < n_headers; i++) {
        const struct http_header *header = &headers[i];

        if (IS_NAMED(header, "x-request-id")) {
            brought->id = &header->value;
            brought->ids++;
        } else if (IS_NAMED(header, "traceparent")) {
            brought->parent = &header->value;
            brought->parents++;
        } else if (IS_NAMED(header, "tracestate")) {
            add_state(&brought->state, &header->value);
        }
    }
}

/* ---- ids */

static void make_id(struct origin_source *source, char out[TRACE_ID_LEN + 1])
{
    trace_put_hex(out, rand_next(&source->high) | 1); /* never all zero */
    trace_put_hex(out + TRACE_ID_LEN / 2, rand_next(&source->low));
}

static uint64_t key_of(const char *hex)
{
    return strtoull(hex + TRACE_ID_LEN / 2, NULL, 16) & KEY_MASK;
}

static void make_span(struct origin_source *source, struct origin *origin)
{
    trace_put_hex(origin->trace.span_id, rand_next(&source->low) | 1);
}

/* The trace's tail is the key, so that who comes after us samples the same. */
static void begin_trace(struct origin_source *source, struct origin *origin)
{
    char tail[17];

    make_id(source, origin->trace.trace_id);
    trace_put_hex(tail, origin->key);
    memcpy(origin->trace.trace_id + TRACE_ID_LEN - ORIGIN_KEY_BITS / 4,
           tail + 16 - ORIGIN_KEY_BITS / 4, ORIGIN_KEY_BITS / 4);
    origin->trace.is_sampled = origin->key >= source->sampled_from;
    make_span(source, origin);
    origin->has_trace = true;
}

static void take_trace(struct origin_source *source, struct origin *origin,
                       const struct brought *brought)
{
    const struct http_text *parent = brought->parent;

    if (brought->parents != 1 ||
        !trace_parent_read(&origin->trace, parent->bytes, parent->len))
        return;
    origin->has_trace = true;
    memcpy(origin->parent_id, origin->trace.span_id, SPAN_ID_LEN + 1);
    make_span(source, origin);
    if (trace_state_is_fit(brought->state.text, brought->state.len))
        origin->state = strndup(brought->state.text, brought->state.len);
}

static void take_id(struct origin_source *source, struct origin *origin,
                    const struct brought *brought)
{
    if (brought->ids == 1 && is_id(brought->id)) {
        memcpy(origin->id, brought->id->bytes, brought->id->len);
        origin->key = hash(origin->id) & KEY_MASK;
        return;
    }
    make_id(source, origin->id);
    origin->key = key_of(origin->id);
}

/* ---- life */

struct origin *origin_new(struct origin_source *source,
                          const struct http_header *headers, size_t n_headers)
{
    struct brought brought;
    struct origin *origin = calloc(1, sizeof(*origin));

    if (origin == NULL)
        return NULL;
    brought.id = brought.parent = NULL;
    brought.ids = brought.parents = 0;
    brought.state.len = 0;
    find(&brought, headers, n_headers);
    origin->refs = 1;
    origin->number = ++source->made;
    take_id(source, origin, &brought);
    take_trace(source, origin, &brought);
    if (origin->has_trace)
        origin->key = key_of(origin->trace.trace_id);
    return origin;
}

struct origin *origin_ref(struct origin *origin)
{
    if (origin != NULL)
        origin->refs++;
    return origin;
}

void origin_unref(struct origin *origin)
{
    if (origin == NULL || --origin->refs > 0)
        return;
    free(origin->state);
    free(origin);
}

/* ---- what is asked of it */

const struct trace_parent *origin_trace(struct origin_source *source,
                                        struct origin *origin)
{
    if (!origin->has_trace)
        begin_trace(source, origin);
    return &origin->trace;
}

bool origin_is_sampled(const struct origin_source *source,
                       const struct origin *origin)
{
    return origin->has_trace ? origin->trace.is_sampled
                             : origin->key >= source->sampled_from;
}

void origin_set_route(struct origin *origin, const char *route, size_t len)
{
    if (len > ORIGIN_ROUTE_MOST)
        len = ORIGIN_ROUTE_MOST;
    memcpy(origin->route, route, len);
    origin->route[len] = '\0';
}

/* Nothing that is left as it is could end the comment. */
static void put_encoded(struct buf *out, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || strchr("-_.~", c) != NULL;

        if (!is_plain)
            buf_put_char(out, '%');
        buf_put_char(out, is_plain ? *text : digits[c >> 4]);
        if (!is_plain)
            buf_put_char(out, digits[c & 15]);
    }
}

static void put_pair(struct buf *out, const char *before, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    buf_put_str(out, before);
    put_encoded(out, text);
    buf_put_char(out, '\'');
}

/* The keys are in the order of their names. */
void origin_put_comment(struct origin_source *source, struct origin *origin,
                        struct buf *out)
{
    char parent[TRACEPARENT_LEN + 1];

    trace_parent_write(parent, origin_trace(source, origin));
    put_pair(out, " /*request_id='", origin->id);
    put_pair(out, ",route='", origin->route);
    put_pair(out, ",traceparent='", parent);
    put_pair(out, ",tracestate='", origin->state);
    buf_put_str(out, "*/");
}

struct origin *task_origin(struct task *task)
{
    if (task->origin == NULL && task->answers != NULL)
        task->origin = origin_ref(request_origin(task->answers));
    return task->origin;
}
