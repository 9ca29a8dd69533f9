// How much memory the bodies of all requests may take together.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/serve/api/access.h"

namespace wan::serve {

/// Bytes of the bodies that are in memory. Used on the io_context's thread alone.
class BodyBudget {
  struct State {
    const uint64_t most;
    uint64_t used = 0;
  };

 public:
  /// Bodies up to this length are not counted: connections are bounded, and so are these.
  static constexpr uint64_t kFree = 64 << 10;

  explicit BodyBudget(uint64_t most = 256 << 20) : state_(std::make_shared<State>(State{most})) {}
  BodyBudget(const BodyBudget&) = delete;
  BodyBudget& operator=(const BodyBudget&) = delete;

  /// What one body takes, given back at the end of its scope. It may outlive the budget.
  class Share {
   public:
    explicit Share(const BodyBudget& of) : state_(of.state_) {}
    ~Share() { state_->used -= bytes_; }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    /// Makes it so many bytes in all; false, and nothing has changed, where others leave no room for that. One that is
    /// larger than the whole budget gets it where no other has any.
    bool grow(uint64_t bytes);
    /// As grow(). Throws HttpError 429 with Retry-After, which clients send again, in place of returning false.
    void take(uint64_t bytes, Access::Form form);

   private:
    std::shared_ptr<State> state_;
    uint64_t bytes_ = 0;
  };

  uint64_t used() const { return state_->used; }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace wan::serve
