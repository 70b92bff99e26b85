/*
 * shop.cpp - a C++ program that sells: what a sale does in Postgres and Redis
 * is in shop.lua.
 *
 *   shop DIRECTORY     with DATABASE_URL and REDIS_URL; shop.lua is there
 */
#include "tidepool.hpp"

#include <cstdlib>
#include <iostream>

static std::string variable(const char *name)
{
    const char *value = std::getenv(name);

    if (value == nullptr)
        throw std::runtime_error(std::string(name) + " is not set");
    return value;
}

static void run(const std::string &directory)
{
    tidepool::runtime shop([](std::string_view line) { std::clog << line; });
    int sold = 0, refused = 0, open = 0;

    shop.set("database.postgres_url", variable("DATABASE_URL"));
    shop.set("redis.url", variable("REDIS_URL"));
    shop.set("log.level", "warn");
    shop.load(directory + "/shop.lua");
    for (int i = 0; i < 15; i++) { /* of 10 that are there, all at once */
        open++;
        shop.call("sell", R"({"item":"lamp","count":1})",
                  [&](const tidepool::reply &reply) {
                      open--;
                      try {
                          reply.get();
                          sold++;
                      } catch (const tidepool::error &error) {
                          refused++;
                          if (refused == 1)
                              std::cout << error.name() << ": " << error.what()
                                        << "\n";
                      }
                  });
    }
    while (open > 0)
        shop.wait();
    std::cout << sold << " sold, " << refused << " refused\n";

    shop.call("sales", "", [](const tidepool::reply &reply) {
        std::cout << reply.get() << "\n";
    });
    shop.call("no such handler", "",
              [](const tidepool::reply &reply) { reply.get(); });
    try {
        shop.drain(std::chrono::seconds(5));
    } catch (const tidepool::error &error) { /* of the second */
        std::cout << error.name() << ": " << error.what() << "\n";
    }
}

int main(int argc, char **argv)
{
    try {
        run(argc > 1 ? argv[1] : ".");
        return 0;
    } catch (const std::exception &failure) {
        std::cerr << "shop: " << failure.what() << "\n";
        return 1;
    }
}
