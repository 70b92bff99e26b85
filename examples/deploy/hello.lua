-- hello.lua - answers without any server behind it: is the installation whole?
local tide = require "tidepool"
local app = tide.app()

app:get("/hello/:name", function(req) return "hello " .. req.params.name .. "\n" end)

return app
