// Files of the server that somebody needs: open jobs, and requests that become jobs. They are not removed meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

namespace wan::serve {

/// Names of files in uploads, outputs and parts. All members are called on the io_context's thread.
class FilesInUse {
  struct State;

 public:
  /// A need of files that ends with it. It may outlive the FilesInUse.
  class Claim {
   public:
    explicit Claim(const FilesInUse& files) : state_(files.state_) {}
    ~Claim();
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;
    void add(const std::string& name);

   private:
    std::shared_ptr<State> state_;
    std::set<std::string> names_;
  };

  /// The one that puts an upload to its place: at a time there is one for each name.
  class Arrival {
   public:
    Arrival(const FilesInUse& files, std::string name);
    ~Arrival();
    Arrival(const Arrival&) = delete;
    Arrival& operator=(const Arrival&) = delete;
    bool is_first() const { return is_first_; }

   private:
    std::shared_ptr<State> state_;
    std::string name_;
    bool is_first_;
  };

  FilesInUse() : state_(std::make_shared<State>()) {}

  bool has(const std::string& name) const { return state_->claims.contains(name); }
  /// Of how many files it is known.
  size_t count() const { return state_->claims.size(); }

  /// An upload that a request makes for its job. It goes where the request is refused: when nobody claims it any more.
  void made(const std::string& name) { state_->made.insert(name); }
  /// Its job is there.
  void accepted(const std::string& name) { state_->made.erase(name); }
  /// An upload is at its place and in the store.
  void came(const std::string& name) const {
    if (state_->on_new) state_->on_new(name);
  }

  /// `on_free` is called when nobody needs a file any more; `is_orphan`: it was made for a job that there is not.
  /// `on_new` is called with each new upload.
  void listen(std::function<void(const std::string& name, bool is_orphan)> on_free,
              std::function<void(const std::string& name)> on_new);

 private:
  struct State {
    std::unordered_map<std::string, int64_t> claims;  // a name to how many need it
    std::set<std::string> made, arriving;
    std::function<void(const std::string&, bool)> on_free;
    std::function<void(const std::string&)> on_new;
  };
  std::shared_ptr<State> state_;
};

}  // namespace wan::serve
