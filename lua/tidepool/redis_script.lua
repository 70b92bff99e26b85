-- redis_script.lua - Lua for the server: sent once, then called by its hash.

local core = require "tidepool.core"
local of = require("tidepool.result").of

local COPES = true -- what is answered by another try is no failure

local Script = {}
Script.__index = Script

local redis_script = {}

local function check_words(list, what, level)
  for i = 1, table.maxn(list) do
    local kind = type(list[i])
    if kind ~= "string" and kind ~= "number" then
      error(("%s %d of a script: a string or a number expected, got %s"):format(what, i,
        kind), level + 1)
    end
  end
end

-- verb, source or hash, the number of keys, keys, arguments; and how many words.
local function words_of(keys, ...)
  if type(keys) ~= "table" then
    error("list of keys expected, got " .. type(keys), 4)
  end
  local args, count = { ... }, select("#", ...)
  args[count + 1] = "" -- so that a last nil is seen
  check_words(keys, "key", 4)
  check_words(args, "argument", 4)
  local words = { "", "", #keys }
  for i = 1, #keys do words[3 + i] = keys[i] end
  for i = 1, count do words[3 + #keys + i] = args[i] end
  return words, 3 + #keys + count
end

local function is_server(err, pattern)
  return err ~= nil and err.code == "server" and err.message:find(pattern) ~= nil
end

local function call(target, words, count)
  return of(target:raw_call(COPES, unpack(words, 1, count)))
end

local function load_and_call(self, target, words, count)
  return of(target:raw_run(COPES, false, {
    { "SCRIPT", "LOAD", self.source }, { unpack(words, 1, count) },
  }))
end

-- By its source, which the server then knows; the first of those who find it unknown
-- also asks for the hash.
local function call_source(self, target, words, count)
  words[1], words[2] = self.eval, self.source
  if self.is_loading then return call(target, words, count) end
  self.is_loading = true
  local ok, replies, err = pcall(load_and_call, self, target, words, count)
  self.is_loading = false
  if not ok then error(replies, 0) end
  if not replies then return nil, err end
  local hash, reply = replies[1], replies[2]
  if type(hash) == "string" and hash:find "^%x+$" and #hash == 40 then
    self.hash = hash -- not "QUEUED", nor that loading is not permitted
  end
  if core.is_err(reply) then return nil, reply end
  if reply == core.null then return nil end
  return reply
end

local function call_once(self, target, words, count)
  if self.hash then
    words[1], words[2] = self.evalsha, self.hash
    local reply, err = call(target, words, count)
    if not is_server(err, "^NOSCRIPT") then return reply, err end
  end
  return call_source(self, target, words, count)
end

local function run(self, target, keys, ...)
  local words, count = words_of(keys, ...)
  if self.is_recorder(target) then
    target:call(self.eval, self.source, unpack(words, 3, count))
    return nil
  end
  local reply, err = call_once(self, target, words, count)
  if self.read_only and is_server(err, "^ERR unknown command") then
    self:use_verbs(false) -- a server before version 7
    return call_once(self, target, words, count)
  end
  return reply, err
end

function Script:use_verbs(read_only)
  self.read_only = read_only
  self.eval = read_only and "EVAL_RO" or "EVAL"
  self.evalsha = read_only and "EVALSHA_RO" or "EVALSHA"
end

-- Runs it on a lease, or in a pipeline or multi, where it goes by its source.
function Script:on(target, keys, ...)
  local reply, err = run(self, target, keys, ...)
  return reply, err
end

-- script(keys, args...): its reply; or nil, err.
function Script:__call(keys, ...)
  local reply, err = run(self, self.pool, keys, ...)
  return reply, err
end

-- For pool:script(source, opts); is_recorder tells pipelines from connections.
function redis_script.new(pool, source, opts, is_recorder)
  if type(source) ~= "string" then
    error("source of a script expected, got " .. type(source), 3)
  end
  if source:find "^%a+$" then
    error(("a script's source expected, got %q; for the command use "
      .. "cache:call(\"SCRIPT\", ...)"):format(source), 3)
  end
  for name, value in pairs(opts or {}) do
    if name ~= "read_only" then error("unknown option: " .. tostring(name), 3) end
    if type(value) ~= "boolean" then
      error("read_only: boolean expected, got " .. type(value), 3)
    end
  end
  local self = setmetatable({
    pool = pool, source = source, is_recorder = is_recorder, is_loading = false,
  }, Script)
  self:use_verbs(opts ~= nil and opts.read_only == true)
  return self
end

return redis_script
