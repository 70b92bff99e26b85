-- metrics.lua - pools, servers and tasks in Prometheus' text format 0.0.4.
--
-- The names of db_client_connection_* follow OpenTelemetry's conventions.

local core = require "tidepool.core"
local events = require "tidepool.events"
local sorted_keys = require "tidepool.sorted_keys"
local writebehind = require "tidepool.writebehind"

local STATES = {
  "opening", "idle", "leased", "shared", "testing", "hooked", "resetting", "cancelling",
  "closing",
}

-- name, kind of pool:stats() entry, help
local POOL_GAUGES = {
  { "db_client_connection_max", "max", "The most connections that the pool may have." },
  { "db_client_connection_idle_min", "min", "Connections that the pool keeps open." },
  { "db_client_connection_pending_requests", "waiting", "Callers that stand in line." },
}

local POOL_FLAGS = {
  { "tidepool_pool_down", "down", "1 while no connection is open and connecting fails." },
  { "tidepool_pool_exhausted", "exhausted",
    "1 while all connections are in use and somebody waits, for a second or more." },
  { "tidepool_pool_paused", "paused", "1 while the pool hands nothing out." },
}

local POOL_HISTOGRAMS = {
  { "db_client_connection_create_time_seconds", "create", "Time to open a connection." },
  { "db_client_connection_wait_time_seconds", "wait", "Time to get a connection." },
  { "db_client_connection_use_time_seconds", "use", "Time from getting to giving back." },
  { "tidepool_pool_statement_queue_seconds", "queue",
    "Time of a statement until it is sent on a shared connection." },
  { "tidepool_pool_statement_service_seconds", "service",
    "Time from then to the answer." },
}

-- name to help
local POOL_COUNTERS = {}
for name, text in pairs(core.pool_counters()) do
  POOL_COUNTERS[name] = text:sub(1, 1):upper() .. text:sub(2) .. "."
end

local SUBSCRIBER_COUNTERS = {
  messages = "Messages heard by subscriptions.",
  dropped = "Messages dropped because a subscription's handler was too slow.",
  gaps = "Gaps that subscriptions' handlers were told of.",
  failures = "Errors of subscriptions' handlers.",
  losses = "Connections of subscriptions that were lost or replaced.",
}

local CONSUMER_COUNTERS = {
  handled = "Entries of streams that were worked on and acknowledged.",
  failed = "Entries whose function failed.",
  given_up = "Entries handed to on_failure.",
  recovered = "Entries taken up again after an end or a lost connection.",
  claimed = "Entries taken over from other consumers.",
  errors = "Times that the server held a consumer up.",
}

-- name, entry of a write-behind's stats, help
local WRITEBEHIND_GAUGES = {
  { "dirty", "dirty", "Keys whose latest value is not in the database." },
  { "in_flight", "in_flight", "Keys among them that are being stored." },
  { "oldest_dirty_seconds", "oldest_dirty", "Age of the oldest change among them." },
  { "loss_window_seconds", "loss_window",
    "Age of the oldest change that is in no log either: what a crash would take." },
}

local WRITEBEHIND_COUNTERS = {
  flushes = "Times that all was stored.",
  stored = "Values stored.",
  failures = "Times that some could not be stored.",
  superseded = "Values dropped because a newer one was in the table.",
  replayed = "Values taken from logs of processes that had ended.",
  refused = "Puts refused because too much was not stored.",
  log_failures = "Times that the log could not be written.",
}

local HTTP_COUNTERS = {
  connections = "Connections accepted.",
  refused = "Connections closed at once, because there was no room for one more.",
  requests = "Requests handed to the application.",
  gone = "Requests whose client left before the reply.",
  bad_requests = "Requests answered with 4xx by the server itself.",
  tls_failures = "Connections closed because there was no TLS handshake.",
  header_timeouts = "Requests whose headers came too slowly.",
  body_timeouts = "Requests whose body came too slowly.",
  bodies_dropped = "Requests replied to before their body was read to its end.",
  write_timeouts = "Connections closed because the client did not read.",
  replies_cut = "Streamed replies whose handler failed in the middle: cut.",
  replies_late = "Streamed replies that outlasted their route's deadline: cut.",
  idle_closes = "Idle connections closed.",
  idle_evictions = "Idle connections closed because another needed the room.",
  memory_closes = "Connections closed because they held too much of max_buffered_bytes.",
}

local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local Writer = {}
Writer.__index = Writer

local function number_text(value)
  if value == math.huge then return "+Inf" end
  if value % 1 == 0 and math.abs(value) < 2 ^ 53 then return ("%.0f"):format(value) end
  return ("%.12g"):format(value)
end

-- labels: array of name, value, name, value...
local function label_text(labels)
  local parts = {}
  for i = 1, #labels, 2 do
    local value = tostring(labels[i + 1]):gsub('[\\"\n]', ESCAPES)
    parts[#parts + 1] = ('%s="%s"'):format(labels[i], value)
  end
  return #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or ""
end

function Writer:family(name, kind, help)
  self[#self + 1] = ("# HELP %s %s\n# TYPE %s %s\n"):format(name, help, name, kind)
end

function Writer:sample(name, labels, value)
  self[#self + 1] = ("%s%s %s\n"):format(name, label_text(labels), number_text(value))
end

function Writer:histogram(name, labels, stats)
  local with_bound = { unpack(labels) }
  local at = #labels + 1
  with_bound[at] = "le"
  for _, bucket in ipairs(stats.buckets) do
    with_bound[at + 1] = number_text(bucket.le)
    self:sample(name .. "_bucket", with_bound, bucket.count)
  end
  with_bound[at + 1] = "+Inf"
  self:sample(name .. "_bucket", with_bound, stats.count)
  self:sample(name .. "_sum", labels, stats.sum)
  self:sample(name .. "_count", labels, stats.count)
end

local function add_states(out, all)
  -- promtool wants no name of a gauge to end in _count, so its type stays unsaid.
  out:family("db_client_connection_count", "untyped", "Connections by state.")
  for _, stats in ipairs(all) do
    for _, state in ipairs(STATES) do
      out:sample("db_client_connection_count",
        { "pool_name", stats.name, "state", state }, stats[state] or 0)
    end
  end
end

local function add_gauges(out, all)
  for _, gauge in ipairs(POOL_GAUGES) do
    out:family(gauge[1], "gauge", gauge[3])
    for _, stats in ipairs(all) do
      out:sample(gauge[1], { "pool_name", stats.name }, stats[gauge[2]])
    end
  end
  for _, flag in ipairs(POOL_FLAGS) do
    out:family(flag[1], "gauge", flag[3])
    for _, stats in ipairs(all) do
      out:sample(flag[1], { "pool_name", stats.name }, stats[flag[2]] and 1 or 0)
    end
  end
end

local function add_counter(out, all, counter, name, help)
  out:family(name, "counter", help)
  for _, stats in ipairs(all) do
    out:sample(name, { "pool_name", stats.name }, stats.counters[counter] or 0)
  end
end

local function counter_name(counter)
  if counter == "timeouts" then return "db_client_connection_timeouts_total" end
  return "tidepool_pool_" .. counter .. "_total"
end

local function add_counters(out, all)
  for _, counter in ipairs(sorted_keys(POOL_COUNTERS)) do
    add_counter(out, all, counter, counter_name(counter), POOL_COUNTERS[counter])
  end
  out:family("tidepool_pool_closes_total", "counter", "Connections closed, by reason.")
  for _, stats in ipairs(all) do
    for _, reason in ipairs(sorted_keys(stats.closes)) do
      out:sample("tidepool_pool_closes_total",
        { "pool_name", stats.name, "reason", reason }, stats.closes[reason])
    end
  end
end

local function add_errors(out, all)
  local name = "tidepool_pool_errors_total"
  out:family(name, "counter", "Operations that failed, by the code of their err.")
  for _, stats in ipairs(all) do
    for _, code in ipairs(sorted_keys(stats.errors)) do
      out:sample(name, { "pool_name", stats.name, "code", code }, stats.errors[code])
    end
  end
end

local function add_subscribers(out, all)
  local with = {}
  for _, stats in ipairs(all) do
    if stats.subscriber then with[#with + 1] = stats end
  end
  if #with == 0 then return end
  for _, counter in ipairs(sorted_keys(SUBSCRIBER_COUNTERS)) do
    local name = "tidepool_subscriptions_" .. counter .. "_total"
    out:family(name, "counter", SUBSCRIBER_COUNTERS[counter])
    for _, stats in ipairs(with) do
      out:sample(name, { "pool_name", stats.name, "kind", stats.kind },
        stats.subscriber[counter])
    end
  end
end

local function consumers_of(all)
  local list = {}
  for _, stats in ipairs(all) do
    for _, consumer in ipairs(stats.consumers or {}) do
      list[#list + 1] = { pool = stats.name, stats = consumer }
    end
  end
  return list
end

local function add_consumers(out, all)
  local list = consumers_of(all)
  if #list == 0 then return end
  for _, counter in ipairs(sorted_keys(CONSUMER_COUNTERS)) do
    local name = "tidepool_consumer_" .. counter .. "_total"
    out:family(name, "counter", CONSUMER_COUNTERS[counter])
    for _, entry in ipairs(list) do
      local stats = entry.stats
      out:sample(name, { "pool_name", entry.pool, "stream", stats.stream, "group",
        stats.group, "consumer", stats.consumer }, stats[counter])
    end
  end
end

local function add_writebehinds(out, all)
  if #all == 0 then return end
  for _, gauge in ipairs(WRITEBEHIND_GAUGES) do
    local name = "tidepool_writebehind_" .. gauge[1]
    out:family(name, "gauge", gauge[3])
    for _, stats in ipairs(all) do
      out:sample(name, { "name", stats.name }, stats[gauge[2]])
    end
  end
  for _, counter in ipairs(sorted_keys(WRITEBEHIND_COUNTERS)) do
    local name = "tidepool_writebehind_" .. counter .. "_total"
    out:family(name, "counter", WRITEBEHIND_COUNTERS[counter])
    for _, stats in ipairs(all) do
      out:sample(name, { "name", stats.name }, stats[counter])
    end
  end
end

local function add_histograms(out, all)
  for _, entry in ipairs(POOL_HISTOGRAMS) do
    out:family(entry[1], "histogram", entry[3])
    for _, stats in ipairs(all) do
      out:histogram(entry[1], { "pool_name", stats.name }, stats[entry[2]])
    end
  end
  local name = "tidepool_pool_wait_phase_seconds"
  out:family(name, "histogram", "Where the time of a wait went.")
  for _, stats in ipairs(all) do
    for _, phase in ipairs(sorted_keys(stats.phases)) do
      out:histogram(name, { "pool_name", stats.name, "phase", phase },
        stats.phases[phase])
    end
  end
end

local function add_http(out, stats)
  for _, counter in ipairs(sorted_keys(HTTP_COUNTERS)) do
    local name = "tidepool_http_" .. counter .. "_total"
    out:family(name, "counter", HTTP_COUNTERS[counter])
    out:sample(name, {}, stats[counter] or 0)
  end
  out:family("tidepool_http_responses_total", "counter", "Replies by class of status.")
  for class = 1, 5 do
    out:sample("tidepool_http_responses_total", { "class", class .. "xx" },
      stats.status[class] or 0)
  end
  out:family("tidepool_http_refused_requests_total", "counter",
    "Requests that the server answered with an error by itself.")
  for _, reason in ipairs(sorted_keys(stats.refusals)) do
    out:sample("tidepool_http_refused_requests_total", { "reason", reason },
      stats.refusals[reason])
  end
  out:family("tidepool_http_open_connections", "gauge", "Connections of clients.")
  out:sample("tidepool_http_open_connections", {}, stats.open)
  out:family("tidepool_http_buffered_bytes", "gauge",
    "Memory of the requests and replies that wait for their client.")
  out:sample("tidepool_http_buffered_bytes", {}, stats.buffered_bytes)
  out:family("tidepool_http_requests_in_flight", "gauge", "Requests without a reply.")
  out:sample("tidepool_http_requests_in_flight", {}, stats.in_flight)
end

local function add_certificates(out, certificates)
  if #certificates == 0 then return end
  local name = "tidepool_tls_certificate_expires_timestamp_seconds"
  out:family(name, "gauge", "When the certificate of this name expires.")
  for _, certificate in ipairs(certificates) do
    out:sample(name, { "name", certificate.name }, certificate.expires)
  end
end

local EVENT_COUNTERS = {
  delivered = "Events of pools told to functions of tide.on.",
  dropped = "Events of pools dropped because these functions were too slow.",
  failures = "Errors of these functions.",
}

local function add_events(out, counts)
  for _, counter in ipairs(sorted_keys(EVENT_COUNTERS)) do
    local name = "tidepool_events_" .. counter .. "_total"
    out:family(name, "counter", EVENT_COUNTERS[counter])
    out:sample(name, {}, counts[counter])
  end
end

local function add_policy(out, policy)
  out:family("tidepool_policy_info", "gauge", "1, and the policy as a label.")
  out:sample("tidepool_policy_info",
    { "policy", policy.name, "dry_run", tostring(policy.dry_run) }, 1)
  out:family("tidepool_policy_ticks_total", "counter", "Intervals of the policy.")
  out:sample("tidepool_policy_ticks_total", {}, policy.ticks)
  out:family("tidepool_policy_failures_total", "counter", "Calls that it failed.")
  out:sample("tidepool_policy_failures_total", {}, policy.failures)
  out:family("tidepool_policy_changes_total", "counter",
    "Settings that it wanted to change, by what became of that.")
  for _, pool in ipairs(sorted_keys(policy.changes)) do
    for _, outcome in ipairs(sorted_keys(policy.changes[pool])) do
      out:sample("tidepool_policy_changes_total",
        { "pool_name", pool, "outcome", outcome }, policy.changes[pool][outcome])
    end
  end
end

local function add_recording(out, recording)
  out:family("tidepool_recorded_total", "counter", "Lines of the recording.")
  out:sample("tidepool_recorded_total", {}, recording.lines)
  out:family("tidepool_recorded_lost_total", "counter",
    "Of these, dropped because the disk was too slow.")
  out:sample("tidepool_recorded_lost_total", {}, recording.lost)
  out:family("tidepool_recording_failed", "gauge",
    "1 when the recording's last write failed.")
  out:sample("tidepool_recording_failed", {}, recording.error and 1 or 0)
end

local LIMIT_COUNTERS = {
  warnings = "Runs of tasks over script.run_warn.",
  aborted_runs = "Tasks ended for a run over script.run_abort.",
  aborted_tasks = "Requests ended for script.request_cpu.",
  aborted_heaps = "Tasks ended while the heap was over script.heap_max_bytes.",
  refused_heap = "Requests and tasks refused because the heap was nearly full.",
  refused_tasks = "Requests and tasks refused for script.max_tasks.",
  collections = "Collections of the whole heap because it was nearly full.",
}

local function add_limits(out, counts)
  for _, counter in ipairs(sorted_keys(LIMIT_COUNTERS)) do
    local name = "tidepool_script_" .. counter .. "_total"
    out:family(name, "counter", LIMIT_COUNTERS[counter])
    out:sample(name, {}, counts[counter])
  end
end

local function add_script(out, stats)
  out:family("tidepool_script_generation", "gauge",
    "Which version of the script serves: 1, and one more with each reload.")
  out:sample("tidepool_script_generation", {}, stats.generation)
  out:family("tidepool_reloads_total", "counter", "Reloads of the script.")
  out:sample("tidepool_reloads_total", { "result", "ok" }, stats.successes)
  out:sample("tidepool_reloads_total", { "result", "failed" }, stats.failures)
  out:family("tidepool_reload_cancelled_total", "counter",
    "What versions before had left when their time was over: cancelled.")
  for _, kind in ipairs(sorted_keys(stats.cancelled)) do
    out:sample("tidepool_reload_cancelled_total", { "kind", kind }, stats.cancelled[kind])
  end
end

local function add_runtime(out, tasks)
  out:family("tidepool_build_info", "gauge", "1, and the version as a label.")
  out:sample("tidepool_build_info", { "version", core.version }, 1)
  out:family("tidepool_lua_memory_bytes", "gauge", "Memory of the Lua heap.")
  out:sample("tidepool_lua_memory_bytes", {}, math.floor(collectgarbage "count" * 1024))
  out:family("tidepool_tasks", "gauge", "Tasks that have not ended.")
  out:sample("tidepool_tasks", {}, tasks.live)
  out:family("tidepool_tasks_started_total", "counter", "Tasks started.")
  out:sample("tidepool_tasks_started_total", {}, tasks.started)
  out:family("tidepool_task_errors_total", "counter", "Tasks that ended with an error.")
  out:sample("tidepool_task_errors_total", {}, tasks.errors)
end

local metrics = {}

metrics.TYPE = "text/plain; version=0.0.4; charset=utf-8"

-- Takes families and samples; table.concat() makes the page of it.
function metrics.writer()
  return setmetatable({}, Writer)
end

-- The page.  pools: array of what pool:stats() gives; http: server:stats() or nil; tasks:
-- core.task_counts(); policy, recording: what their stats() give, or nil;
-- refused: requests to the admin listener, or nil; script: Reloader:stats(), or nil.
function metrics.page(pools, http, tasks, policy, recording, refused, script)
  local out = metrics.writer()
  if #pools > 0 then
    add_states(out, pools)
    add_gauges(out, pools)
    add_counters(out, pools)
    add_errors(out, pools)
    add_subscribers(out, pools)
    add_consumers(out, pools)
    add_histograms(out, pools)
  end
  add_writebehinds(out, writebehind.stats())
  add_events(out, events.counts())
  local limits = core.limit_counts()
  if limits then add_limits(out, limits) end
  if http then
    add_http(out, http)
    add_certificates(out, http.certificates or {})
  end
  if policy then add_policy(out, policy) end
  if recording then add_recording(out, recording) end
  if script then add_script(out, script) end
  if refused then
    out:family("tidepool_admin_refused_total", "counter",
      "Requests to the admin listener without its token.")
    out:sample("tidepool_admin_refused_total", {}, refused)
  end
  add_runtime(out, tasks)
  return table.concat(out)
end

return metrics
