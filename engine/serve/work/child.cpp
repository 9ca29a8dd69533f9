#include "engine/serve/work/child.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <deque>
#include <system_error>
#include <thread>

#include "engine/serve/work/protocol.h"

extern char** environ;

namespace wan::serve {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr size_t kMostErrorLine = 4 << 10;

/// A file descriptor that is closed at the end of its scope.
class File {
 public:
  explicit File(int file = -1) : file_(file) {}
  File(File&& other) noexcept : file_(other.release()) {}
  ~File() {
    if (file_ >= 0) close(file_);
  }
  int get() const { return file_; }
  int release() { return std::exchange(file_, -1); }

 private:
  int file_;
};

struct Pipe {
  File read, write;
};

/// Both ends above the three standard numbers: where this process was started without those, a child gets them as
/// what they are.
Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const File first(ends[0]), second(ends[1]);
  Pipe pipe{File(fcntl(ends[0], F_DUPFD_CLOEXEC, 3)), File(fcntl(ends[1], F_DUPFD_CLOEXEC, 3))};
  if (pipe.read.get() < 0 || pipe.write.get() < 0) throw std::system_error(errno, std::generic_category(), "pipe");
  return pipe;
}

/// "NAME=VALUE" of this process and of `more`, for names that this process has not.
std::vector<std::string> environment_with(const std::map<std::string, std::string>& more) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry; ++entry) all.emplace_back(*entry);
  for (const auto& [name, value] : more)
    if (!getenv(name.c_str())) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

/// The process's number. Throws std::system_error.
pid_t spawn(const ChildStart& start, const Pipe& in, const Pipe& out, const Pipe& err) {
  std::vector<std::string> arguments = {start.program}, environment = environment_with(start.environment);
  arguments.insert(arguments.end(), start.arguments.begin(), start.arguments.end());
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&files, in.read.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, out.write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, err.write.get(), STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, 3);  // sockets of libraries are not closed by exec
  sigset_t none, as_before;
  sigemptyset(&none);
  sigemptyset(&as_before);
  sigaddset(&as_before, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &as_before);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, start.program.c_str(), &files, &attributes, pointers(arguments).data(),
                                pointers(environment).data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) throw std::system_error(error, std::generic_category(), "[" + start.program + "] cannot be started");
  return pid;
}

}  // namespace

struct Child::State {
  explicit State(asio::io_context& io) : io(io), in(io), out(io), err(io), timer(io) {}

  asio::io_context& io;
  asio::posix::stream_descriptor in, out, err;
  asio::steady_timer timer;
  pid_t pid = -1;
  int status = 0;
  bool gone = false, closed = false, writes = false, err_ended = false;
  std::deque<std::string> queue;
  ChildHears hears;

  /// Whether it has ended by now.
  bool reap() {
    if (!gone) {
      const pid_t ended = waitpid(pid, &status, WNOHANG);
      gone = ended == pid || (ended < 0 && errno == ECHILD);
    }
    return gone;
  }
  void kill() {
    if (!reap()) ::kill(pid, SIGKILL);
  }

  static Awaitable<void> write(std::shared_ptr<State> state);
  static Awaitable<void> read_errors(std::shared_ptr<State> state);
  static Awaitable<void> read_lines(std::shared_ptr<State> state);
  static Awaitable<int> end(std::shared_ptr<State> state, std::chrono::milliseconds grace);
};

Awaitable<void> Child::State::write(std::shared_ptr<State> state) {
  while (!state->queue.empty()) {
    error_code failed;
    const asio::const_buffer text(state->queue.front().data(), state->queue.front().size());
    co_await asio::async_write(state->in, text, asio::redirect_error(asio::use_awaitable, failed));
    if (failed) {  // it has gone, or closed its input: its end is noticed where its output is read
      state->queue.clear();
      state->in.close(failed);
      break;
    }
    state->queue.pop_front();
  }
  state->writes = false;
}

Awaitable<void> Child::State::read_errors(std::shared_ptr<State> state) {
  std::string line;
  const auto tell = [&] {
    if (!state->closed && state->hears.error_line && !line.empty()) state->hears.error_line(line);
    line.clear();
  };
  std::array<char, 4096> piece;
  while (true) {
    error_code failed;
    const size_t size =
        co_await state->err.async_read_some(asio::buffer(piece), asio::redirect_error(asio::use_awaitable, failed));
    if (failed) break;
    for (const char letter : std::string_view(piece.data(), size))
      if (letter == '\n')
        tell();
      else if (line.size() < kMostErrorLine)
        line += letter;
  }
  tell();
  state->err_ended = true;
}

Awaitable<void> Child::State::read_lines(std::shared_ptr<State> state) {
  std::string rest;
  std::vector<char> piece(64 << 10);
  while (true) {
    error_code failed;
    const size_t size =
        co_await state->out.async_read_some(asio::buffer(piece), asio::redirect_error(asio::use_awaitable, failed));
    if (failed || state->closed) break;
    size_t begin = 0;
    const size_t before = rest.size();
    rest.append(piece.data(), size);
    for (size_t end; (end = rest.find('\n', std::max(begin, before))) != std::string::npos; begin = end + 1) {
      state->hears.line(std::string_view(rest).substr(begin, end - begin));
      if (state->closed) co_return;
    }
    rest.erase(0, begin);
    if (rest.size() <= kMostLine) continue;
    state->hears.no_line("a line of more than " + std::to_string(kMostLine) + " bytes");
    break;
  }
}

Awaitable<int> Child::State::end(std::shared_ptr<State> state, std::chrono::milliseconds grace) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  std::chrono::milliseconds pause(2);
  bool killed = false;
  // Its last words may come after its output has ended.
  for (Clock::time_point ended = {}; !state->reap() || !state->err_ended;) {
    const auto now = Clock::now();
    if (state->gone && ended == Clock::time_point()) ended = now;
    if (state->gone && now - ended > std::chrono::seconds(1)) break;
    if (!state->gone && !killed && now - start > grace) killed = true, state->kill();
    error_code ignored;
    state->timer.expires_after(pause);
    co_await state->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    pause = std::min(pause * 2, std::chrono::milliseconds(100));
  }
  error_code ignored;
  state->in.close(ignored);
  state->err.close(ignored);
  state->out.close(ignored);
  co_return state->status;
}

Child::Child(asio::io_context& io, const ChildStart& start) : state_(std::make_shared<State>(io)) {
  std::signal(SIGPIPE, SIG_IGN);
  Pipe in = make_pipe(), out = make_pipe(), err = make_pipe();
  state_->pid = spawn(start, in, out, err);
  state_->in.assign(in.write.release());
  state_->out.assign(out.read.release());
  state_->err.assign(err.read.release());
}

Child::~Child() {
  state_->closed = true;
  state_->hears = {};
  error_code ignored;
  state_->timer.cancel();
  state_->in.close(ignored);
  state_->out.close(ignored);
  state_->err.close(ignored);
  state_->kill();
  // A driver may take a moment to let the process go; it is not waited for longer than that.
  for (int i = 0; i < 200 && !state_->reap(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

int64_t Child::pid() const {
  return state_->pid;
}

Awaitable<int> Child::run(ChildHears hears, std::chrono::milliseconds grace) {
  const std::shared_ptr<State> state = state_;
  state->hears = std::move(hears);
  asio::co_spawn(state->io, State::read_errors(state), asio::detached);
  co_await State::read_lines(state);
  co_return co_await State::end(state, grace);
}

void Child::send(std::string line) {
  if (!state_->in.is_open() || state_->closed) return;
  state_->queue.push_back(std::move(line));
  if (std::exchange(state_->writes, true)) return;
  asio::co_spawn(state_->io, State::write(state_), asio::detached);
}

void Child::kill() {
  state_->kill();
}

std::string status_text(int status) {
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    const char* name = sigdescr_np(number);
    return "signal " + std::to_string(number) + (name ? std::string(" (") + name + ")" : "");
  }
  return "exit status " + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : status);
}

}  // namespace wan::serve
