-- cookie.lua - cookies (RFC 6265): the value of Set-Cookie, and one of those that came.

local options = require "tidepool.options"

local function attribute(value)
  if type(value) ~= "string" or value == "" or value:find "[%c;,]" then
    return "a text without controls, comma and semicolon"
  end
end

local CHECKS = {
  secure = options.boolean, same_site = options.word_of { "Strict", "Lax", "None" },
  path = attribute, domain = attribute,
}

local cookie = {}

-- For scripts no script of a page can read it, it goes over TLS only, and other sites'
-- requests do not bring it, but for links.
function cookie.of(name, value, seconds, opts, level)
  opts = options.check(opts == nil and {} or opts, CHECKS, level + 1)
  local same_site, is_secure = opts.same_site or "Lax", opts.secure ~= false
  if same_site == "None" and not is_secure then
    error('same_site = "None": browsers want secure, too', level + 1)
  end
  return ("%s=%s; Path=%s; Max-Age=%d; HttpOnly; SameSite=%s%s%s"):format(name, value,
    opts.path or "/", math.ceil(seconds), same_site, is_secure and "; Secure" or "",
    opts.domain and "; Domain=" .. opts.domain or "")
end

-- The value of the first of this name in a header Cookie, or in several that were joined
-- by commas; nil when there is none.  Each part is matched from its beginning: what a
-- client sends costs no more than its length.
function cookie.find(header, name)
  for part in (header or ""):gmatch "[^;,]+" do
    local key, value = part:match '^%s*([^%s=]+)%s*=%s*"?([^%s"]*)'
    if key == name then return value end
  end
end

return cookie
