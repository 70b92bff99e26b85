-- fixed.lua - the settings that the options name, and no others.  Without options
-- nothing changes: what a pool has when no policy should touch it.

local policy = {
  every = 10,
  options = { max_connections = 0, min_connections = -1, concurrency = -1 },
}

function policy.decide(pool, ctx)
  local o, wanted, words = ctx.options, {}, {}
  local function set(name, value, least)
    if value < least or value == pool.settings[name] then return end
    wanted[name] = value
    words[#words + 1] = name .. " is fixed at " .. value
  end
  set("max_connections", o.max_connections, 1)
  set("min_connections", o.min_connections, 0)
  set("concurrency", o.concurrency, 0)
  if #words > 0 then return wanted, table.concat(words, ", ") end
end

return policy
