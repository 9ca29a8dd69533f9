#include "engine/serve/net/gone_watch.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <chrono>

#include "engine/serve/net/wire.h"

namespace wan::serve {

namespace asio = boost::asio;

// Where the client sent more, its socket stays readable, so it cannot tell of its end: then it is asked this often.
constexpr std::chrono::seconds kAsk{1};

struct GoneWatch::State {
  explicit State(std::shared_ptr<Wire> of) : wire(std::move(of)), timer(wire->link().socket().get_executor()) {}
  std::shared_ptr<Wire> wire;
  asio::steady_timer timer;
  int waiting = 0;
  bool ended = false;
};

GoneWatch::GoneWatch(std::shared_ptr<Wire> wire) : state_(std::make_shared<State>(std::move(wire))) {}

Awaitable<void> GoneWatch::wait() {
  return wait(state_);
}

Awaitable<void> GoneWatch::wait(std::shared_ptr<State> state) {
  struct Waiting {
    explicit Waiting(State& of) : state(of) { ++state.waiting; }
    ~Waiting() { --state.waiting; }
    State& state;
  } waiting(*state);
  for (;;) {
    if (state->ended) throw boost::system::system_error(asio::error::operation_aborted);
    if (state->wire->peer_closed()) co_return;
    ErrorCode error;
    co_await state->wire->link().socket().async_wait(Socket::wait_read,
                                                     asio::redirect_error(asio::use_awaitable, error));
    if (state->ended || error || state->wire->peer_closed()) continue;
    state->timer.expires_after(kAsk);
    co_await state->timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

void GoneWatch::end() {
  state_->ended = true;
  if (state_->waiting == 0) return;
  state_->timer.cancel();
  ErrorCode ignored;
  state_->wire->link().socket().cancel(ignored);
}

}  // namespace wan::serve
