-- formula.lua - the size that pool guides begin with: cores x 2 + spindles, of the
-- database server, and no more than the server has room for.
--
-- Source: PostgreSQL wiki, "Number Of Database Connections"; HikariCP wiki, "About Pool
-- Sizing".  It says what a server can work on at once, so it is for Postgres: Redis
-- has one thread, and its pools are left alone.

local policy = {
  every = 10,
  options = {
    cores = 0,    -- of the database server; 0: as many as this machine has
    spindles = 1, -- disks that seek; an SSD counts as one
    share = 1,    -- of the connections that the server has left, 0 to 1
  },
}

function policy.decide(pool, ctx)
  if pool.kind ~= "postgres" then return end
  local o, server = ctx.options, pool.server
  local cores = o.cores > 0 and o.cores or ctx.cores
  local size = cores * 2 + o.spindles
  local reason = ("%d cores x 2 + %d"):format(cores, o.spindles)
  if server.max_connections and server.connections then
    local others = server.connections - pool.open
    local room = math.max(1, math.floor((server.max_connections - others) * o.share))
    if room < size then
      size = room
      reason = ("the server has room for %d: it takes %d, others have %d"):format(room,
        server.max_connections, others)
    end
  end
  if size ~= pool.settings.max_connections then
    return { max_connections = size }, reason
  end
end

return policy
