/* command.c - see command.h. */
#include "redis/command.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_LEN = 24, NUMBER_MAX_LEN = 31 };

enum command_kind {
    KIND_WRITE, /* what is not in the table, too */
    KIND_READ,
    KIND_BLOCK_LAST,        /* blocks, seconds in its last argument */
    KIND_BLOCK_FIRST,       /* seconds in its first argument */
    KIND_BLOCK_MS,          /* milliseconds in its last argument */
    KIND_BLOCK_OPTION_READ, /* blocks when it has BLOCK milliseconds */
    KIND_BLOCK_OPTION,
    KIND_PARENT, /* its second word decides */
    KIND_SELECT, /* refused, but on a lease, which is cleaned of it */
    KIND_OPEN,   /* the same, and no hook may leave it */
    KIND_MARK,   /* as SELECT, but the lease's connection is closed */
    KIND_REFUSED,
};

struct command {
    const char *name;
    enum command_kind kind;
    const char *advice; /* what to use instead of a refused one */
};

/* clang-format off */
#define READ(name)           { (name), KIND_READ, NULL },
#define BLOCK(name, how)     { (name), KIND_BLOCK_##how, NULL },
#define PARENT(name)         { (name), KIND_PARENT, NULL },
#define SELECT(name, text)   { (name), KIND_SELECT, (text) },
#define OPEN(name, text)     { (name), KIND_OPEN, (text) },
#define MARK(name, text)     { (name), KIND_MARK, (text) },
#define REFUSED(name, text)  { (name), KIND_REFUSED, (text) },

static const char in_url[] = "put user and password in the pool's url";
static const char in_path[] =
    "put the number in the pool's url: redis://host/2";
static const char as_multi[] = "use cache:multi(fn)";
static const char as_lease[] =
    "use cache:with(fn), which has a connection of its own";
static const char as_subscriber[] =
    "use cache:subscribe(channel, fn), psubscribe or ssubscribe, and "
    "subscription:close()";
static const char as_tool[] = "use redis-cli";
static const char by_pool[] = "the pool opens and closes its connections";
static const char none[] = "it changes what those on it are answered";
static const char pushes[] = "nobody hears the invalidations that it asks for";

/* In the order of strcmp(). */
static const struct command commands[] = {
    MARK("ASKING", as_lease)
    REFUSED("AUTH", in_url)
    READ("BITCOUNT") READ("BITFIELD_RO") READ("BITPOS")
    BLOCK("BLMOVE", LAST) BLOCK("BLMPOP", FIRST) BLOCK("BLPOP", LAST)
    BLOCK("BRPOP", LAST) BLOCK("BRPOPLPUSH", LAST)
    BLOCK("BZMPOP", FIRST) BLOCK("BZPOPMAX", LAST) BLOCK("BZPOPMIN", LAST)
    PARENT("CLIENT") READ("COMMAND")
    READ("DBSIZE") OPEN("DISCARD", as_multi) READ("DUMP")
    READ("ECHO") READ("EVALSHA_RO") READ("EVAL_RO")
    OPEN("EXEC", as_multi) READ("EXISTS") READ("EXPIRETIME")
    READ("FCALL_RO")
    READ("GEODIST") READ("GEOHASH") READ("GEOPOS")
    READ("GEORADIUSBYMEMBER_RO") READ("GEORADIUS_RO") READ("GEOSEARCH")
    READ("GET") READ("GETBIT") READ("GETRANGE")
    REFUSED("HELLO", in_url) READ("HEXISTS") READ("HEXPIRETIME")
    READ("HGET") READ("HGETALL") READ("HKEYS") READ("HLEN") READ("HMGET")
    READ("HPEXPIRETIME") READ("HPTTL") READ("HRANDFIELD") READ("HSCAN")
    READ("HSTRLEN") READ("HTTL") READ("HVALS")
    READ("INFO")
    READ("KEYS")
    READ("LASTSAVE") READ("LCS") READ("LINDEX") READ("LLEN") READ("LOLWUT")
    READ("LPOS") READ("LRANGE")
    READ("MEMORY") READ("MGET") REFUSED("MONITOR", as_tool)
    OPEN("MULTI", as_multi)
    READ("OBJECT")
    READ("PEXPIRETIME") READ("PFCOUNT") READ("PING")
    REFUSED("PSUBSCRIBE", as_subscriber) REFUSED("PSYNC", as_tool)
    READ("PTTL") READ("PUBSUB") REFUSED("PUNSUBSCRIBE", as_subscriber)
    REFUSED("QUIT", by_pool)
    READ("RANDOMKEY") MARK("READONLY", as_lease) MARK("READWRITE", as_lease)
    REFUSED("REPLCONF", as_tool) REFUSED("RESET", by_pool) READ("ROLE")
    READ("SCAN") READ("SCARD") PARENT("SCRIPT") READ("SDIFF")
    SELECT("SELECT", in_path) READ("SINTER") READ("SINTERCARD")
    READ("SISMEMBER") READ("SMEMBERS") READ("SMISMEMBER") READ("SORT_RO")
    READ("SRANDMEMBER") READ("SSCAN") REFUSED("SSUBSCRIBE", as_subscriber)
    READ("STRLEN") REFUSED("SUBSCRIBE", as_subscriber) READ("SUBSTR")
    READ("SUNION") REFUSED("SUNSUBSCRIBE", as_subscriber)
    REFUSED("SYNC", as_tool)
    READ("TIME") READ("TOUCH") READ("TTL") READ("TYPE")
    REFUSED("UNSUBSCRIBE", as_subscriber) OPEN("UNWATCH", as_lease)
    BLOCK("WAIT", MS) BLOCK("WAITAOF", MS) OPEN("WATCH", as_lease)
    READ("XINFO") READ("XLEN") READ("XPENDING") READ("XRANGE")
    BLOCK("XREAD", OPTION_READ) BLOCK("XREADGROUP", OPTION)
    READ("XREVRANGE")
    READ("ZCARD") READ("ZCOUNT") READ("ZDIFF") READ("ZINTER")
    READ("ZINTERCARD") READ("ZLEXCOUNT") READ("ZMSCORE") READ("ZRANDMEMBER")
    READ("ZRANGE") READ("ZRANGEBYLEX") READ("ZRANGEBYSCORE") READ("ZRANK")
    READ("ZREVRANGE") READ("ZREVRANGEBYLEX") READ("ZREVRANGEBYSCORE")
    READ("ZREVRANK") READ("ZSCAN") READ("ZSCORE") READ("ZUNION")
};

/* The second words that are no writes, with the first before them.  A script is
 * loaded twice without harm. */
static const struct command children[] = {
    REFUSED("CLIENT CACHING", pushes) MARK("CLIENT NO-EVICT", as_lease)
    MARK("CLIENT NO-TOUCH", as_lease) REFUSED("CLIENT REPLY", none)
    MARK("CLIENT SETINFO", as_lease) MARK("CLIENT SETNAME", as_lease)
    REFUSED("CLIENT TRACKING", pushes) REFUSED("SCRIPT DEBUG", as_tool)
    READ("SCRIPT EXISTS") READ("SCRIPT LOAD")
};
/* clang-format on */

/* One command's words, whether they have lengths or not. */
struct words {
    unsigned count;
    const char *const *args;
    const size_t *lens;
};

static size_t word_len(const struct words *words, unsigned i)
{
    return words->lens != NULL ? words->lens[i] : strlen(words->args[i]);
}

/* Appends word i in upper case; returns the new length, or 0 when it is too
 * long for any name of the table. */
static size_t put_name(char *name, size_t len, const struct words *words,
                       unsigned i)
{
    size_t more = word_len(words, i);

    if (len + more >= NAME_MAX_LEN)
        return 0;
    for (size_t at = 0; at < more; at++)
        name[len + at] = (char)toupper((unsigned char)words->args[i][at]);
    name[len + more] = '\0';
    return len + more;
}

static const struct command *find(const struct command *table, size_t count,
                                  const char *name)
{
    size_t low = 0;

    while (count > 0) {
        const struct command *middle = &table[low + count / 2];
        int order = name[0] - middle->name[0];

        if (order == 0)
            order = strcmp(name, middle->name);
        if (order == 0)
            return middle;
        if (order > 0) {
            low += count / 2 + 1;
            count--;
        }
        count /= 2;
    }
    return NULL;
}

static const struct command *find_command(const struct words *words)
{
    char name[NAME_MAX_LEN + 1];
    const struct command *found;
    size_t len = put_name(name, 0, words, 0);

    if (len == 0)
        return NULL;
    found = find(commands, sizeof(commands) / sizeof(*commands), name);
    if (found == NULL || found->kind != KIND_PARENT || words->count < 2)
        return found;
    name[len] = ' ';
    if (put_name(name, len + 1, words, 1) == 0)
        return NULL;
    return find(children, sizeof(children) / sizeof(*children), name);
}

/* How long word i lets it block: a number of units, 0 is for ever.  What is no
 * such number the server refuses at once. */
static uint64_t block_ns(const struct words *words, unsigned i, double unit_ns)
{
    char text[NUMBER_MAX_LEN + 1];
    size_t len = word_len(words, i);
    double number;
    char *end;

    if (len == 0 || len > NUMBER_MAX_LEN)
        return 0;
    memcpy(text, words->args[i], len);
    text[len] = '\0';
    number = strtod(text, &end);
    if (*end != '\0' || !(number >= 0))
        return 0;
    if (number == 0 || number * unit_ns >= (double)INT64_MAX)
        return COMMAND_BLOCKS_FOR_EVER;
    return (uint64_t)(number * unit_ns);
}

static bool is_word(const struct words *words, unsigned i, const char *word)
{
    size_t len = strlen(word);

    return word_len(words, i) == len &&
           strncasecmp(words->args[i], word, len) == 0;
}

/* The place of BLOCK's number before STREAMS, or 0. */
static unsigned find_block(const struct words *words)
{
    unsigned i = is_word(words, 0, "XREADGROUP") ? 4 : 1; /* GROUP g name */

    for (; i + 1 < words->count && !is_word(words, i, "STREAMS"); i++) {
        if (is_word(words, i, "BLOCK"))
            return i + 1;
    }
    return 0;
}

static void read_option(const struct words *words,
                        struct redis_command_use *out)
{
    unsigned at = find_block(words);

    out->is_blocking = at > 0;
    if (at > 0)
        out->block_ns = block_ns(words, at, 1e6);
}

static enum err refuse(const struct command *command, bool is_leased,
                       struct err_text *why)
{
    err_text_set(why, "%s on a %s connection: %s", command->name,
                 is_leased ? "leased" : "shared", command->advice);
    return ERR_BADARG;
}

static enum err check(const struct words *words, bool is_leased,
                      struct redis_command_use *out, struct err_text *why)
{
    struct redis_command_use use = { 0 };
    const struct command *command;

    if (words->count == 0 || word_len(words, 0) == 0) {
        err_text_set(why, "a command begins with its name");
        return ERR_BADARG;
    }
    command = find_command(words);
    switch (command != NULL ? command->kind : KIND_WRITE) {
    case KIND_WRITE:
    case KIND_PARENT: break;
    case KIND_READ: use.is_read_only = true; break;
    case KIND_SELECT:
    case KIND_OPEN:
        if (!is_leased)
            return refuse(command, is_leased, why);
        use.is_session = true;
        use.is_open = command->kind == KIND_OPEN;
        break;
    case KIND_MARK:
        if (!is_leased)
            return refuse(command, is_leased, why);
        use.is_mark = true;
        break;
    case KIND_REFUSED: return refuse(command, is_leased, why);
    case KIND_BLOCK_OPTION_READ: use.is_read_only = true; /* fall through */
    case KIND_BLOCK_OPTION: read_option(words, &use); break;
    case KIND_BLOCK_LAST:
        use.is_blocking = true;
        use.block_ns = block_ns(words, words->count - 1, 1e9);
        break;
    case KIND_BLOCK_FIRST:
        use.is_blocking = true;
        use.block_ns = words->count > 1 ? block_ns(words, 1, 1e9) : 0;
        break;
    case KIND_BLOCK_MS:
        use.is_blocking = true;
        use.block_ns = block_ns(words, words->count - 1, 1e6);
        break;
    }
    *out = use;
    return ERR_OK;
}

enum err redis_command_check(unsigned n_args, const char *const *args,
                             const size_t *lens, struct redis_command_use *out,
                             struct err_text *why)
{
    return check(&(struct words){ n_args, args, lens }, false, out, why);
}

enum err redis_command_check_leased(unsigned n_args, const char *const *args,
                                    const size_t *lens,
                                    struct redis_command_use *out,
                                    struct err_text *why)
{
    return check(&(struct words){ n_args, args, lens }, true, out, why);
}
