/* servers.c - see servers.h. */
#include "servers.h"

#include <stdlib.h>

static const char script[] =
    "local core = require 'tidepool.core'\n"
    "local servers = require 'tidepool.servers'\n"
    "local tide = require 'tidepool'\n"
    "local directory, own = nil, {}\n"
    "tide.handler('start', function()\n"
    "  directory = assert(core.mkdtemp((os.getenv 'TMPDIR' or '/tmp')\n"
    "    .. '/tidepool-embed-'))\n"
    "  assert(core.chmod(directory, tonumber('711', 8)))\n"
    "  for _, name in ipairs { 'postgres', 'redis' } do\n"
    "    own[name] = assert(servers[name] { directory = directory .. '/' .. "
    "name })\n"
    "  end\n"
    "end)\n"
    "tide.handler('url', function(call) return own[call.payload].url end)\n"
    "tide.handler('kill', function(call) own[call.payload]:kill() end)\n"
    "tide.handler('restart', function(call)\n"
    "  assert(own[call.payload]:restart())\n"
    "end)\n"
    "tide.handler('stop', function()\n"
    "  for _, server in pairs(own) do server:stop() end\n"
    "  if directory then core.remove_tree(directory) end\n"
    "end)\n";

static tide_runtime *keeper;
static struct answer postgres, redis;

static void order(struct answer *answer, const char *name, const char *payload)
{
    ask(keeper, answer, name, payload);
    if (answer->code != TIDE_OK)
        fail_msg("%s %s: %s", name, payload != NULL ? payload : "",
                 answer->error);
}

int servers_start(void **state)
{
    struct answer answer;

    (void)state;
    keeper = open_runtime();
    assert_done(tide_set(keeper, "script.trusted", "true"));
    if (tide_load(keeper, "servers.lua", script) != TIDE_OK)
        fail_msg("%s", tide_last_error(keeper));
    order(&answer, "start", NULL);
    order(&postgres, "url", "postgres");
    order(&redis, "url", "redis");
    return 0;
}

int servers_stop(void **state)
{
    struct answer answer;

    (void)state;
    order(&answer, "stop", NULL);
    return tide_close(keeper);
}

const char *postgres_url(void)
{
    return postgres.payload;
}

const char *redis_url(void)
{
    return redis.payload;
}

void server_kill(const char *name)
{
    struct answer answer;

    order(&answer, "kill", name);
}

void server_restart(const char *name)
{
    struct answer answer;

    order(&answer, "restart", name);
}
