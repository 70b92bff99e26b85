/*
 * post.c - see tidepool.h: calls posted from any thread, whose results are
 * collected in a fixed order.
 *
 * A post is on the inbox, which has the mutex; then in the runtime's thread
 * alone: in the line of its key, whose first one runs, in done by its order,
 * and on told while the host reads its result.
 */
#include "host/inside.h"

#include "base/heap.h"
#include "base/map.h"
#include "net/wake.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_POSTS = 1024 };

struct post {
    struct host_call call;
    struct list_node node;
    struct heap_node done_node;
    struct host_line *line;
    tide_request request; /* with copies of our own, behind the struct */
    uint64_t due_ns;      /* 0: none, or not known yet */
    tide_result result;
    char *answer; /* result.payload, then result.error, owned */
};

/* Posts of one key; there while it has any. */
struct host_line {
    struct map_node node; /* its key is key */
    uint64_t key;
    struct list posts; /* the first one runs */
};

struct host_posts {
    tide_runtime *runtime;
    struct wake *wake;
    pthread_mutex_t mutex;
    struct list inbox; /* under the mutex, as these three */
    unsigned len;      /* from tide_post() to the tide_collect() after */
    uint64_t last_seq;
    bool is_closed;
    unsigned max;
    struct map lines;
    struct heap done; /* by key, then seq */
    struct list told;
    bool is_freeing; /* the first of told */
};

static struct post *post_at(struct list_node *node)
{
    return container_of(node, struct post, node);
}

static void post_free(struct post *post, bool lets_go)
{
    if (lets_go && post->request.free_ud != NULL)
        post->request.free_ud(post->request.ud);
    free(post->answer);
    free(post);
}

/* ---- results */

static struct post *done_at(const struct heap_node *node)
{
    return container_of(node, struct post, done_node);
}

static bool comes_before(const struct heap_node *a, const struct heap_node *b)
{
    const tide_result *result = &done_at(a)->result;
    const tide_result *other = &done_at(b)->result;

    if (result->key != other->key)
        return result->key < other->key;
    return result->seq < other->seq;
}

/* What reply has is its task's, so it is copied. */
static void keep_reply(struct post *post, const tide_reply *reply)
{
    size_t error_size = strlen(reply->error) + 1;
    tide_result *result = &post->result;

    result->code = reply->code;
    result->error = "";
    post->answer = malloc(reply->len + error_size);
    if (post->answer == NULL) {
        result->code = TIDE_NOMEM;
        return;
    }
    if (reply->len > 0)
        memcpy(post->answer, reply->payload, reply->len);
    memcpy(post->answer + reply->len, reply->error, error_size);
    result->payload = post->answer;
    result->len = reply->len;
    result->format = reply->format;
    result->error = post->answer + reply->len;
}

/* ---- the line of a key */

static void settle(struct host_posts *posts, struct post *post,
                   const tide_reply *reply)
{
    keep_reply(post, reply);
    list_remove(&post->line->posts, &post->node);
    heap_add(&posts->done, &post->done_node);
}

static void on_call_done(struct host_call *call, const tide_reply *reply);

/* Why it cannot begin; else TIDE_OK, and it has. */
static tide_reply try_begin(struct host_posts *posts, struct post *post)
{
    tide_runtime *runtime = posts->runtime;
    tide_reply reply = { .error = "" };

    post->call.done = on_call_done;
    if (runtime->is_closing) {
        reply.code = TIDE_CLOSED;
    } else if (post->due_ns != 0 &&
               loop_now_ns(runtime->vm->loop) >= post->due_ns) {
        reply.code = TIDE_TIMEOUT;
        reply.error = "timeout_ms were over before its turn came";
    } else {
        reply.code =
            host_call_begin(runtime, &post->call, &post->request, post->due_ns);
        reply.error = reply.code != TIDE_OK ? tide_last_error(runtime) : "";
    }
    return reply;
}

/* Begins the first one that can; a line without any is gone. */
static void advance(struct host_posts *posts, struct host_line *line)
{
    while (line->posts.len > 0) {
        struct post *post = post_at(list_first(&line->posts));
        tide_reply reply = try_begin(posts, post);

        if (reply.code == TIDE_OK)
            return;
        settle(posts, post, &reply);
    }
    map_remove(&posts->lines, &line->node);
    free(line);
}

static void on_call_done(struct host_call *call, const tide_reply *reply)
{
    struct post *post = container_of(call, struct post, call);
    struct host_posts *posts = call->runtime->posts;
    struct host_line *line = post->line;

    settle(posts, post, reply);
    advance(posts, line);
}

static struct host_line *line_of(struct host_posts *posts, uint64_t key)
{
    struct map_node *node =
        map_get(&posts->lines, (const char *)&key, sizeof(key));
    struct host_line *line;

    if (node != NULL)
        return container_of(node, struct host_line, node);
    line = calloc(1, sizeof(*line));
    if (line == NULL)
        return NULL;
    line->key = key;
    line->node.key = (const char *)&line->key;
    line->node.key_len = sizeof(line->key);
    list_init(&line->posts);
    if (map_put(&posts->lines, &line->node) == ERR_OK)
        return line;
    free(line);
    return NULL;
}

static void take(struct host_posts *posts, struct post *post)
{
    static const tide_reply no_memory = { .code = TIDE_NOMEM, .error = "" };

    if (post->due_ns == 0)
        post->due_ns = host_due_ns(posts->runtime, post->request.timeout_ms);
    post->line = line_of(posts, post->result.key);
    if (post->line == NULL) {
        keep_reply(post, &no_memory);
        heap_add(&posts->done, &post->done_node);
        return;
    }
    list_push_back(&post->line->posts, &post->node);
    if (post->line->posts.len == 1)
        advance(posts, post->line);
}

static struct post *pop_inbox(struct host_posts *posts)
{
    struct list_node *node;

    pthread_mutex_lock(&posts->mutex);
    node = list_pop_front(&posts->inbox);
    pthread_mutex_unlock(&posts->mutex);
    return node != NULL ? post_at(node) : NULL;
}

static void take_all(struct host_posts *posts)
{
    struct post *post;

    while ((post = pop_inbox(posts)) != NULL)
        take(posts, post);
}

/* One at least; what a step has no time for is for the next one. */
static void on_wake(void *ud)
{
    struct host_posts *posts = ud;
    struct post *post;

    while ((post = pop_inbox(posts)) != NULL) {
        take(posts, post);
        if (loop_is_over(posts->runtime->vm->loop)) {
            wake_send(posts->wake);
            return;
        }
    }
}

/* ---- posting */

static struct post *post_new(const tide_request *request)
{
    size_t name_size = strlen(request->name) + 1;
    struct post *post = calloc(1, sizeof(*post) + name_size + request->len);
    char *copy = (char *)(post + 1);

    if (post == NULL)
        return NULL;
    memcpy(copy, request->name, name_size);
    if (request->len > 0)
        memcpy(copy + name_size, request->payload, request->len);
    post->request = *request;
    post->request.name = copy;
    post->request.payload = copy + name_size;
    post->result.ud = request->ud;
    return post;
}

static int put(struct host_posts *posts, struct post *post, uint64_t key)
{
    int code = TIDE_OK;

    pthread_mutex_lock(&posts->mutex);
    if (posts->is_closed)
        code = TIDE_CLOSED;
    else if (posts->len >= posts->max)
        code = TIDE_BUSY;
    else {
        posts->len++;
        post->result.key = key;
        post->result.seq = ++posts->last_seq;
        list_push_back(&posts->inbox, &post->node);
        wake_send(posts->wake);
    }
    pthread_mutex_unlock(&posts->mutex);
    return code;
}

int tide_post(tide_runtime *runtime, uint64_t key, const tide_request *request)
{
    tide_request own;
    struct post *post;
    int code;

    if (host_is_forked(runtime))
        return TIDE_FORKED;
    if (runtime->posts == NULL)
        return TIDE_MISUSED;
    if (!host_take_request(&own, request))
        return TIDE_BADARG;
    post = post_new(&own);
    if (post == NULL)
        return TIDE_NOMEM;
    if (!loop_has_clock(runtime->vm->loop)) /* which this thread may not ask */
        post->due_ns = host_due_ns(runtime, own.timeout_ms);
    code = put(runtime->posts, post, key);
    if (code != TIDE_OK)
        post_free(post, false);
    return code;
}

/* ---- collecting */

/* Those there are now: free_ud may collect, which tells of others behind. */
static void free_told(struct host_posts *posts)
{
    unsigned count = posts->told.len;

    if (posts->is_freeing)
        return;
    posts->is_freeing = true;
    posts->runtime->calls_out++;
    for (unsigned i = 0; i < count; i++)
        post_free(post_at(list_pop_front(&posts->told)), true);
    posts->runtime->calls_out--;
    posts->is_freeing = false;
    pthread_mutex_lock(&posts->mutex);
    posts->len -= count;
    pthread_mutex_unlock(&posts->mutex);
}

int tide_collect(tide_runtime *runtime, tide_result *out, size_t max,
                 size_t *count)
{
    struct host_posts *posts = runtime->posts;
    int code = host_enter(runtime);

    if (code != TIDE_OK)
        return code;
    if (posts == NULL)
        return host_fail(runtime, TIDE_MISUSED, "no script is loaded");
    free_told(posts);
    *count = 0;
    while (*count < max && posts->done.len > 0) {
        struct post *post = done_at(heap_pop(&posts->done));

        list_push_back(&posts->told, &post->node);
        out[(*count)++] = post->result;
    }
    return TIDE_OK;
}

/* ---- life */

struct host_posts *host_posts_new(tide_runtime *runtime)
{
    struct host_posts *posts = calloc(1, sizeof(*posts));

    if (posts == NULL)
        return NULL;
    if (wake_open(&posts->wake, runtime->vm->loop, on_wake, posts) != ERR_OK) {
        free(posts);
        return NULL;
    }
    posts->runtime = runtime;
    posts->max = runtime->max_posts > 0 ? runtime->max_posts : MAX_POSTS;
    pthread_mutex_init(&posts->mutex, NULL);
    list_init(&posts->inbox);
    heap_init(&posts->done, comes_before);
    list_init(&posts->told);
    return posts;
}

void host_posts_refuse(tide_runtime *runtime)
{
    if (runtime->posts == NULL)
        return;
    pthread_mutex_lock(&runtime->posts->mutex);
    runtime->posts->is_closed = true;
    pthread_mutex_unlock(&runtime->posts->mutex);
    take_all(runtime->posts); /* those that came before it count */
}

void host_posts_free(struct host_posts *posts)
{
    if (posts == NULL)
        return;
    wake_close(posts->wake);
    free_told(posts);
    while (posts->done.len > 0)
        post_free(done_at(heap_pop(&posts->done)), true);
    map_free(&posts->lines);
    pthread_mutex_destroy(&posts->mutex);
    free(posts);
}
