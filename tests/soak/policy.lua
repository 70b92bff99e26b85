-- policy.lua - changes the size of a pool again and again, up and down, so that a soak
-- has connections opened and closed by it.

local STEP = 2

return {
  every = 3,
  options = { least = 10, most = 18 },
  decide = function(pool, ctx)
    local now = pool.settings.max_connections
    local up = ctx.random() < 0.5
    local wanted = up and now + STEP or now - STEP
    wanted = math.max(ctx.options.least, math.min(ctx.options.most, wanted))
    if wanted == now then return end
    return { max_connections = wanted }, up and "more, to see" or "fewer, to see"
  end,
}
