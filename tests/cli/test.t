#!/usr/bin/perl
# test.t - `tidepool test`: specs of users, on servers of their own.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use File::Copy qw(copy);
use Test::More;

my $examples = "$Bin/../../examples";

subtest "the quickstart's" => sub {
    my $dir = directory();
    copy("$examples/quickstart/$_", "$dir/$_") or die $!
        for qw(app.lua schema.sql app_spec.lua);
    my ($status, $out, $err) = run($dir, ["test"]);
    is $status, 0, "status" or diag $out, $err;
    like $out, qr/7 successes/, "all of them";
};

subtest "every test begins anew" => sub {
    my $dir = directory();
    mkdir "$dir/spec" or die $!;
    put("$dir/schema.sql", "CREATE TABLE t (n int); INSERT INTO t VALUES (1);\n");
    put("$dir/helper.lua", "return { answer = require 'tidepool'.postgres():one "
        . "'SELECT 42 AS n'.n, has_files = pcall(function() return io.open end) }\n");
    put("$dir/spec/t_spec.lua", <<'LUA');
local tide = require "tidepool"
local db, cache = tide.postgres(), tide.redis()
local heard = {}

describe("a test", function()
  for round = 1, 3 do
    it("writes, round " .. round, function()
      assert.are.equal(1, assert(db:one "SELECT count(*)::int AS n FROM t").n)
      assert.is_nil((cache:get "k"))
      assert(db:exec "INSERT INTO t VALUES (2)")
      assert(db:exec "CREATE TABLE other (n int)")
      assert(cache:set("k", round))
      assert(db:transaction(function(tx) return tx:exec "DELETE FROM t" end))
    end)
  end

  it("listens, and loads what waits", function()
    assert.are.equal(42, require("helper").answer)
    assert.is_false(require("helper").has_files) -- as where it is served
    assert.is_function(io.open)
    assert(db:listen("c", function(message) heard[#heard + 1] = message.payload end))
    assert(db:notify("c", "x"))
    local limit = tide.now() + 10
    while #heard == 0 and tide.now() < limit do tide.sleep(0.01) end
    assert.are.same({ "x" }, heard)
  end)
end)

describe("tide.request", function()
  local app = tide.app()
  app:get("/raises", function() error "mine" end)
  app:post("/echo/:word", function(req)
    return { status = 201, headers = { ["X-Word"] = req.params.word },
      body = req.body .. (req.query.q or "") .. (req.headers["x-in"] or "") }
  end)
  app:get("/rows", function() return tide.json(assert(db:query "SELECT n FROM t")) end)
  app:get("/stream", function()
    return tide.stream(function(reply)
      reply:write "a"
      reply:write "b"
    end)
  end)

  it("asks as over HTTP", function()
    local response = tide.request(app, "post", "/echo/hi?q=1",
      { body = "b", headers = { ["X-In"] = "h" } })
    assert.are.same({ 201, "b1h", "hi" },
      { response.status, response.body, response.headers["x-word"] })
    assert.are.same({ { n = 1 } }, tide.request(app, "GET", "/rows"):json())
    assert.are.equal("ab", tide.request(app, "GET", "/stream").body)
    assert.are.equal("", tide.request(app, "HEAD", "/rows").body)
    assert.are.equal(404, tide.request(app, "GET", "/nowhere").status)
    local refused = tide.request(app, "DELETE", "/rows")
    assert.are.same({ 405, "GET, HEAD" }, { refused.status, refused.headers.allow })
    assert.are.equal(500, tide.request(app, "GET", "/raises").status)
    local ok, err = pcall(tide.request, app, "GET", "rows")
    assert.is_false(ok)
    assert.matches("path, from / on, expected", err)
  end)
end)
LUA
    my ($status, $out, $err) = run($dir, ["test"]);
    is $status, 0, "status" or diag $out, $err;
    like $out, qr/5 successes/, "all of them";
};

subtest "what fails, and what is not there" => sub {
    my $dir = directory();
    my ($status, $out, $err) = run($dir, ["test"]);
    is $status, 2, "no specs: status";
    like $err, qr/no \*_spec\.lua here/, "no specs: message";
    ($status, $out, $err) = run($dir, ["test", "missing_spec.lua"]);
    is $status, 2, "no file: status";
    like $err, qr/missing_spec\.lua: no such file or folder/, "no file: name";
    mkdir "$dir/empty" or die $!;
    ($status, $out, $err) = run($dir, ["test", "empty"]);
    is $status, 2, "no spec in a folder: status";
    like $err, qr/empty: no \*_spec\.lua in this folder/, "no spec in a folder: name";
    put("$dir/a_spec.lua", "describe('a', function()\n  it('fails', function()\n"
        . "    assert.are.equal(1, 2)\n  end)\nend)\n");
    ($status, $out, $err) = run($dir, ["test"]);
    is $status, 1, "a test that fails: status";
    like $out, qr/a_spec\.lua:?\s*.?\s*3/, "a test that fails: place";
    put("$dir/b_spec.lua", "x = = 1\n");
    is((run($dir, ["test", "b_spec.lua"]))[0], 1, "syntax: status");
    put("$dir/c_spec.lua", "\n");
    is((run($dir, ["test", "c_spec.lua"]))[0], 1, "no test in it: status");
};

subtest "specs in folders" => sub {
    my $dir = directory();
    my $n = 0;
    for my $folder ("", "spec", "spec/deep", "spec/deep/er", "spec/.hidden", "other") {
        mkdir "$dir/$folder" or die $! if $folder;
        my $name = "n" . ++$n;
        put("$dir/$folder/${name}_spec.lua",
            "describe('d', function() it('$name', function() io.stderr:write('ran $name\\n')"
                . " end) end)\n");
        put("$dir/$folder/helper.lua", "error 'no spec'\n");
    }
    my $ran = sub {
        my ($status, $out, $err) = run($dir, ["test", @_]);
        is $status, 0, "status of test @_" or diag $out, $err;
        return join " ", $err =~ /ran (\w+)/g;
    };
    is $ran->(), "n1 n2 n3 n4", "here, and spec/ with what is below it";
    is $ran->("spec/deep/", "other/n6_spec.lua"), "n3 n4 n6", "a folder and a file";
};

subtest "busted is not there" => sub {
    my $dir = directory();
    put("$dir/a_spec.lua", "describe('a', function() it('is', function() end) end)\n");
    mkdir "$dir/busted" or die $!;
    # What require raises for a module that is nowhere.
    put("$dir/busted/core.lua",
        "error(\"module 'busted.core' not found:\\n\\tno file 'x'\", 0)\n");
    my ($status, $out, $err) = run($dir, ["test"]);
    is $status, 2, "status";
    is $err, "tidepool: busted, which runs the specs, was not found; on Debian: "
        . "apt-get install lua-busted\n", "what is missing, and where it is from";
    put("$dir/busted/core.lua", "error(\"module 'pl.path' not found:\\n\\tno file\", 0)\n");
    ($status, $out, $err) = run($dir, ["test"]);
    is $status, 2, "it misses something itself: status";
    is $err, "tidepool: busted, which runs the specs, could not be loaded: "
        . "module 'pl.path' not found\n", "it misses something itself: what";
};

done_testing;
