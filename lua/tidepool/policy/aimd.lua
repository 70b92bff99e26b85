-- aimd.lua - additive increase, multiplicative decrease: one connection more while they
-- are all wanted and the server keeps its pace; a tenth fewer when it does not.
--
-- Source: Chiu and Jain (1989), as TCP has it; Netflix concurrency-limits, AIMDLimit
-- (back-off 0.9, growth only while at least half of the limit is in use).

local policy = {
  every = 1,
  options = {
    slow = 0.5,     -- seconds: a service time p90 over this is a sign of congestion
    backoff = 0.9,  -- what is kept then
    increase = 1,   -- connections more
    used = 0.5,     -- share of connections that must be in use to grow
    spare = 0.25,   -- below this share in use, for as long as calm, one fewer
    calm = 30,      -- seconds
  },
}

local function shrink(pool, o, reason)
  local size = math.floor(pool.settings.max_connections * o.backoff)
  return { max_connections = math.max(1, size) }, reason
end

function policy.decide(pool, ctx)
  local o, state = ctx.options, ctx.state
  local size = pool.settings.max_connections
  if pool.is_down or pool.is_paused then return end
  if pool.errors.timeout > 0 and pool.waiting == 0 then
    return shrink(pool, o, pool.errors.timeout .. " statements ran out of time")
  end
  if pool.service.count > 0 and pool.service.p90 > o.slow then
    return shrink(pool, o, ("service p90 is %.3f s, over %g s"):format(
      pool.service.p90, o.slow))
  end
  if pool.use_ratio >= o.spare then state.busy_at = ctx.now end
  state.busy_at = state.busy_at or ctx.now
  if pool.waiting + pool.queued > 0 and pool.use_ratio >= o.used then
    return { max_connections = size + o.increase }, ("%d wait, %d%% in use"):format(
      pool.waiting + pool.queued, pool.use_ratio * 100)
  end
  if ctx.now - state.busy_at >= o.calm and size > 1 then
    return { max_connections = size - 1 }, ("%d%% in use for %d s"):format(
      pool.use_ratio * 100, ctx.now - state.busy_at)
  end
end

return policy
