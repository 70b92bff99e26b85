/*
 * tidepool.hpp - tidepool.h for C++17: a runtime that closes itself, replies
 * that go to a function object, failures as exceptions.
 *
 * Take it as it is; it needs nothing but tidepool.h.  What is said there of
 * threads and of calls from inside of callbacks counts here too.
 */
#ifndef TIDEPOOL_HPP
#define TIDEPOOL_HPP

#include <poll.h>
#include <tidepool.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace tidepool
{

/* What went wrong: name() is what scripts have in err.code. */
class error : public std::runtime_error
{
  public:
    error(int code, const char *text)
        : std::runtime_error(
              text != nullptr && *text != '\0' ? text : tide_error_text(code)),
          code_(code)
    {
    }

    int code() const noexcept
    {
        return code_;
    }

    const char *name() const noexcept
    {
        return tide_error_name(code_);
    }

  private:
    int code_;
};

/* Of one call; get() throws where there is none.  Valid in the function that it
 * is handed to. */
class reply
{
  public:
    explicit reply(const tide_reply *raw) : raw_(raw)
    {
    }

    std::string_view get() const
    {
        if (raw_->code != TIDE_OK)
            throw error(raw_->code, raw_->error);
        return { static_cast<const char *>(raw_->payload), raw_->len };
    }

  private:
    const tide_reply *raw_;
};

using reply_function = std::function<void(const reply &)>;
using log_function = std::function<void(std::string_view line)>;

/* Of the thread that made it. */
class runtime
{
  public:
    explicit runtime(log_function log = nullptr) : log_(std::move(log))
    {
        tide_options options;
        tide_runtime *raw;
        int code;

        tide_options_init(&options);
        options.write_log = write_log;
        options.ud = this;
        code = tide_open(&raw, &options);
        if (code != TIDE_OK)
            throw error(code, nullptr);
        raw_.reset(raw);
    }

    /* The log has its address. */
    runtime(const runtime &) = delete;
    runtime &operator=(const runtime &) = delete;

    void set(const std::string &key, const std::string &value)
    {
        check(tide_set(raw_.get(), key.c_str(), value.c_str()));
    }

    void load(const std::string &path)
    {
        check(tide_load(raw_.get(), path.c_str(), nullptr));
        rethrow();
    }

    /* Asks a handler; fn has its reply in a later step().  What fn throws, that
     * step throws. */
    std::uint64_t call(const std::string &name, std::string_view payload,
                       reply_function fn,
                       std::chrono::milliseconds timeout = {})
    {
        auto job = std::make_unique<pending>(pending{ this, std::move(fn) });
        tide_request request;
        std::uint64_t id;

        tide_request_init(&request);
        request.name = name.c_str();
        request.payload = payload.data();
        request.len = payload.size();
        request.timeout_ms = static_cast<std::uint64_t>(timeout.count());
        request.ud = job.get();
        request.free_ud = [](void *ud) { delete static_cast<pending *>(ud); };
        check(tide_call(raw_.get(), &request, on_reply, &id));
        job.release(); /* free_ud has it now */
        return id;
    }

    void cancel(std::uint64_t id)
    {
        check(tide_cancel(raw_.get(), id));
    }

    /* Does what is ready, and never waits. */
    void step(std::chrono::nanoseconds budget = std::chrono::milliseconds(2))
    {
        check(tide_step(raw_.get(), static_cast<std::uint64_t>(budget.count()),
                        nullptr));
        rethrow();
    }

    /* Waits until there is something to do, and does it. */
    void wait()
    {
        pollfd item{ tide_poll_fd(raw_.get()), POLLIN, 0 };

        poll(&item, 1, tide_next_timeout_ms(raw_.get()));
        step();
    }

    /* Takes no more calls and waits for those that run. */
    void drain(std::chrono::milliseconds timeout)
    {
        check(tide_drain(raw_.get(),
                         static_cast<std::uint64_t>(timeout.count())));
        rethrow();
    }

  private:
    struct pending {
        runtime *owner;
        reply_function fn;
    };

    struct closer {
        void operator()(tide_runtime *raw) const noexcept
        {
            tide_close(raw);
        }
    };

    void check(int code) const
    {
        if (code != TIDE_OK)
            throw error(code, tide_last_error(raw_.get()));
    }

    /* An exception must not pass through C: the first of a turn is kept. */
    void keep() noexcept
    {
        if (!thrown_)
            thrown_ = std::current_exception();
    }

    void rethrow()
    {
        if (thrown_)
            std::rethrow_exception(std::exchange(thrown_, nullptr));
    }

    static void on_reply(void *ud, const tide_reply *raw)
    {
        auto *job = static_cast<pending *>(ud);

        try {
            job->fn(reply(raw));
        } catch (...) {
            job->owner->keep();
        }
    }

    static void write_log(void *ud, const char *line, std::size_t len)
    {
        auto *self = static_cast<runtime *>(ud);

        try {
            if (self->log_)
                self->log_({ line, len });
        } catch (...) {
            self->keep();
        }
    }

    log_function log_;
    std::exception_ptr thrown_;
    std::unique_ptr<tide_runtime, closer> raw_; /* the last: it logs */
};

} // namespace tidepool

#endif
