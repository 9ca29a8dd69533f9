// A process of ours with pipes to its standard input, output and error.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/serve/net/asio.h"

namespace wan::serve {

/// What a child is started with.
struct ChildStart {
  std::string program;
  std::vector<std::string> arguments;              // without the program's name
  std::map<std::string, std::string> environment;  // beside this process's own, of which it does not replace any
};

/// What a child says. Called on the thread of the io_context.
struct ChildHears {
  std::function<void(std::string_view line)> line;        // of its output, without the line break
  std::function<void(std::string_view line)> error_line;  // of its standard error, cut at 4 KiB
  std::function<void(const std::string& what)> no_line;  // its output had a line that is too long; nothing more is read
};

/// A running process. It has no file of this one but the three pipes, so that it holds no port when this one is gone.
/// Members are called on the io_context's thread.
class Child {
 public:
  /// Starts it. Throws std::system_error where that fails. SIGPIPE is ignored by this process from then on.
  Child(boost::asio::io_context& io, const ChildStart& start);
  /// Kills it where it is still there.
  ~Child();
  Child(const Child&) = delete;

  int64_t pid() const;
  /// Hands its output to `hears` until that ends, and waits for the process: one that closed its output and stays is
  /// killed after `grace`. Returns its status, as waitpid has it. Called once.
  Awaitable<int> run(ChildHears hears, std::chrono::milliseconds grace = std::chrono::seconds(10));
  /// Queues a line, with its line break, for its input; nothing happens where that is closed.
  void send(std::string line);
  /// SIGKILL. Nothing where it has gone.
  void kill();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// "exit status 3", "signal 9 (Killed)", from a status of waitpid.
std::string status_text(int status);

}  // namespace wan::serve
