-- router.lua - finds the handler of a path: fixed parts, :params and *rest.

local Router = {}
Router.__index = Router

local function new_node()
  return { fixed = {} }
end

local function new_router()
  return setmetatable({ exact = {}, root = new_node() }, Router)
end

local function hex_char(digits)
  return string.char(tonumber(digits, 16))
end

-- Decodes %41; "+" stays, as in a path.
local function decode(text)
  if not text:find("%", 1, true) then return text end
  return (text:gsub("%%(%x%x)", hex_char))
end

-- The node of a pattern, made where it is not there yet; and its parameters' names.
local function node_of(root, pattern)
  local node, names = root, {}
  for part in pattern:gmatch("[^/]+") do
    local kind, name = part:match("^([:*])(.+)$")
    if kind == ":" then
      names[#names + 1] = name
      node.param = node.param or new_node()
      node = node.param
    elseif kind == "*" then
      names[#names + 1] = name
      node.rest = node.rest or new_node()
      node = node.rest
    else
      node.fixed[part] = node.fixed[part] or new_node()
      node = node.fixed[part]
    end
  end
  return node, names
end

local function check_pattern(pattern)
  if type(pattern) ~= "string" or pattern:sub(1, 1) ~= "/" then
    error("path expected that begins with /, got " .. tostring(pattern), 4)
  end
  if pattern:find("%*[^/]*/") then
    error("*rest must be the last part of " .. pattern, 4)
  end
  if pattern:find("/[:*]/") or pattern:find("/[:*]$") then
    error("a parameter needs a name in " .. pattern, 4)
  end
end

-- Adds a route.  Raises when it is there already.
function Router:add(method, pattern, route)
  check_pattern(pattern)
  local routes
  if pattern:find("/[:*]") then
    local node, names = node_of(self.root, pattern)
    node.routes = node.routes or {}
    routes, route.names = node.routes, names
  else
    self.exact[pattern] = self.exact[pattern] or {}
    routes = self.exact[pattern]
  end
  if routes[method] then
    error(("route %s %s is there already"):format(method, pattern), 4)
  end
  routes[method] = route
end

-- Fixed parts before parameters, parameters before the rest; goes back where a branch
-- leads nowhere.
local function find(node, path, from, values, count)
  local first, last = path:find("[^/]+", from)
  if not first then
    if node.routes then return node.routes, count end
    return nil
  end
  local part = path:sub(first, last)
  local fixed = node.fixed[part]
  if fixed then
    local routes, n = find(fixed, path, last + 1, values, count)
    if routes then return routes, n end
  end
  if node.param then
    values[count + 1] = decode(part)
    local routes, n = find(node.param, path, last + 1, values, count + 1)
    if routes then return routes, n end
  end
  if node.rest then
    values[count + 1] = decode(path:sub(first))
    return node.rest.routes, count + 1
  end
end

-- The table of routes by method of a path and the parameters' values; or nil.
function Router:match(path)
  local routes = self.exact[path]
  if routes then return routes end
  local values = {}
  routes = find(self.root, path, 1, values, 0)
  return routes, values
end

return { new = new_router, decode = decode }
