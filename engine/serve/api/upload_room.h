// What uploads take of their owners' quotas before the store knows them: those that are on the way, and parts.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace wan::serve {

/// All members are called on the io_context's thread.
class UploadRoom {
  struct State;

 public:
  /// Bytes that are on the way, until it goes. It may outlive the UploadRoom.
  class Hold {
   public:
    Hold(const UploadRoom& room, std::string owner, uint64_t bytes);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    /// What its owner had on the way and in parts when this came: who comes first has the room.
    uint64_t before() const { return before_; }

   private:
    std::shared_ptr<State> state_;
    std::string owner_;
    uint64_t bytes_ = 0, before_ = 0;
  };

  UploadRoom() : state_(std::make_shared<State>()) {}

  /// What the parts of an unfinished upload take; `parts` is the name of their folder.
  void set_parts(const std::string& parts, const std::string& owner, uint64_t bytes);
  void forget_parts(const std::string& parts);
  /// What an owner has on the way and in parts.
  uint64_t taken(const std::string& owner) const { return state_->taken(owner); }

 private:
  struct Parts {
    std::string owner;
    uint64_t bytes = 0;
  };
  struct State {
    std::map<std::string, uint64_t> held, in_parts;  // by owners
    std::map<std::string, Parts> parts;              // by folders
    uint64_t taken(const std::string& owner) const;
  };
  std::shared_ptr<State> state_;
};

}  // namespace wan::serve
