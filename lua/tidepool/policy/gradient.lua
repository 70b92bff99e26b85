-- gradient.lua - the size follows how much slower the server has become: the gradient
-- of its long-term service time over that of the last interval.
--
-- Source: Netflix concurrency-limits, Gradient2Limit, with three repairs: what is slow
-- under overload is not learned as the normal (its baseline drifts up and never comes
-- back), timeouts count (it ignores drops), and it never probes by dropping load, as
-- Envoy's adaptive concurrency does (envoy issues 8337, 9007, 9038).

local policy = {
  every = 1,
  options = {
    tolerance = 1.5, -- times slower than usual that is still usual
    smoothing = 0.2, -- share of the new limit in the next
    window = 60,     -- intervals that the long-term average remembers
    used = 0.5,      -- below this share in use the limit stays
    samples = 10,    -- fewer services in an interval say nothing
  },
}

local function learn(state, seconds, o)
  state.long = state.long and state.long + (seconds - state.long) / o.window or seconds
  -- it had been slow for long, and is no more: forget that soon
  if state.long > 2 * seconds then state.long = state.long * 0.95 end
end

function policy.decide(pool, ctx)
  local o, state = ctx.options, ctx.state
  local size = pool.settings.max_connections
  if pool.is_down or pool.is_paused or pool.service.count < o.samples then return end
  local short = pool.service.p50
  if not state.long then learn(state, short, o) end
  local gradient = math.max(0.5, math.min(1, o.tolerance * state.long / short))
  if gradient == 1 then learn(state, short, o) end
  if pool.errors.timeout > 0 then gradient = math.min(gradient, 0.9) end
  if pool.use_ratio < o.used and gradient == 1 then return end
  -- kept with its fraction, unless somebody else has set the size
  if not state.limit or math.floor(state.limit + 0.5) ~= size then state.limit = size end
  local aim = state.limit * gradient + (gradient == 1 and math.sqrt(state.limit) or 0)
  state.limit = math.max(1, state.limit + (aim - state.limit) * o.smoothing)
  local wanted = math.floor(state.limit + 0.5)
  if wanted == size then return end
  return { max_connections = wanted }, ("service p50 %.1f ms, usually %.1f ms: x %.2f")
    :format(short * 1000, state.long * 1000, gradient)
end

return policy
