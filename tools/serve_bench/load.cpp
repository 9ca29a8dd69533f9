#include "tools/serve_bench/load.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>

namespace wan::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kPatience = 30;  // seconds for answers that are late
constexpr uint64_t kTimer = UINT64_MAX;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

Clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

double thread_cpu_seconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) / 1e9;
}

void allow_files(uint64_t count) {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= count) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max < count)
    throw std::runtime_error("[connections] need " + std::to_string(count) + " open files, and this process may have " +
                             std::to_string(limit.rlim_max) + "; raise it with ulimit -n, or ask for fewer");
}

/// A file of the system, closed at the end.
struct File {
  explicit File(int number) : number(number) {
    if (number < 0) throw std::runtime_error(std::string("[load] ") + std::strerror(errno));
  }
  ~File() { close(number); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int number;
};

enum class Kind { Client, Idle, Stream };

struct Peer {
  Kind kind;
  Connection connection;
  AnswerReader reader = {};
  bool busy = false, closed = false;
  Clock::time_point since = {};  // when its request was due
  char last = 0;                 // of a stream
};

class Load {
 public:
  explicit Load(const LoadOptions& options)
      : options_(options),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    allow_files(uint64_t(options.clients) + uint64_t(options.idle) + uint64_t(options.streams) + 100);
    peers_.reserve(size_t(options.clients + options.idle + options.streams));
    open_idle();
    open_streams();
    for (int i = 0; i < options.clients; ++i) {
      free_.push_back(peers_.size());
      add({.kind = Kind::Client, .connection = Connection(options.port)});
    }
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = kTimer;
    epoll_ctl(epoll_.number, EPOLL_CTL_ADD, timer_.number, &event);
  }

  LoadResult run() {
    begin_ = Clock::now() + duration_of(options_.warm_up);
    end_ = begin_ + duration_of(options_.seconds);
    next_due_ = Clock::now();
    const Clock::time_point last = end_ + duration_of(kPatience);
    const double cpu = thread_cpu_seconds();
    const Clock::time_point started = Clock::now();
    begin_requests();
    std::array<epoll_event, 256> events;
    while (in_flight_ > 0 || is_more_due()) {
      const int count = epoll_wait(epoll_.number, events.data(), int(events.size()), 100);
      for (int i = 0; i < count; ++i) {
        const uint64_t index = events[size_t(i)].data.u64;
        index == kTimer ? silence_timer() : hear(size_t(index));
      }
      begin_requests();
      if (Clock::now() > last) break;
    }
    result_.cpu = (thread_cpu_seconds() - cpu) / seconds_between(started, Clock::now());
    result_.seconds = options_.requests > 0 ? seconds_between(begin_, last_answer_) : options_.seconds;
    if (in_flight_ > 0) fail("no answer within 30 s after the end", in_flight_);
    for (const Peer& peer : peers_) {
      result_.idle_open += peer.kind == Kind::Idle && !peer.closed;
      result_.streams_open += peer.kind == Kind::Stream && !peer.closed;
    }
    std::sort(result_.milliseconds.begin(), result_.milliseconds.end());
    return std::move(result_);
  }

 private:
  void open_idle() {
    for (int i = 0; i < options_.idle; ++i) {
      Connection connection(options_.port);
      if (const std::string wrong = options_.check(connection.ask(options_.request)); !wrong.empty())
        throw std::runtime_error("[idle connection] " + wrong);
      add({.kind = Kind::Idle, .connection = std::move(connection)});
    }
  }

  void open_streams() {
    for (int i = 0; i < options_.streams; ++i) {
      Connection connection(options_.port);
      const HttpAnswer answer = connection.ask_for_stream(options_.stream_request);
      if (answer.status != 200 || answer.head.find("text/event-stream") == std::string::npos)
        throw std::runtime_error("[stream] was answered " + std::to_string(answer.status) + ", and not with events");
      add({.kind = Kind::Stream, .connection = std::move(connection)});
      count_messages(peers_.back(), answer.body);
    }
  }

  void watch(size_t index, int how) {
    epoll_event event = {};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.u64 = index;
    if (epoll_ctl(epoll_.number, how, peers_[index].connection.file(), &event) != 0)
      throw std::runtime_error(std::string("[epoll] ") + std::strerror(errno));
  }

  void add(Peer peer) {
    peer.connection.stop_waiting();
    peers_.push_back(std::move(peer));
    watch(peers_.size() - 1, EPOLL_CTL_ADD);
  }

  void fail(const std::string& what, uint64_t count = 1) {
    if (result_.failed == 0) result_.first_failure = what;
    result_.failed += count;
  }

  bool is_more_due() const {
    if (options_.requests > 0) return begun_ < options_.requests;
    return (options_.rate > 0 ? next_due_ : Clock::now()) < end_;
  }

  /// As many as are due and have a connection.
  void begin_requests() {
    while (!free_.empty() && is_more_due()) {
      const Clock::time_point now = Clock::now();
      if (options_.rate > 0 && next_due_ > now) return wake_at(next_due_);
      const size_t index = free_.back();
      free_.pop_back();
      Peer& peer = peers_[index];
      peer.since = options_.rate > 0 ? next_due_ : now;
      if (options_.rate > 0) next_due_ += duration_of(1 / options_.rate);
      peer.busy = true;
      ++in_flight_, ++begun_;
      try {
        peer.connection.send(options_.request);
      } catch (const std::runtime_error& broken) {
        replace(index, broken.what());
      }
    }
  }

  void wake_at(Clock::time_point time) {
    const auto since = time.time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
    itimerspec when = {};
    when.it_value.tv_sec = seconds.count();
    when.it_value.tv_nsec = std::chrono::nanoseconds(since - seconds).count();
    timerfd_settime(timer_.number, TFD_TIMER_ABSTIME, &when, nullptr);
  }

  void silence_timer() const {
    uint64_t times = 0;
    [[maybe_unused]] const ssize_t got = read(timer_.number, &times, sizeof times);
  }

  void hear(size_t index) {
    Peer& peer = peers_[index];
    if (peer.closed) return;
    try {
      const std::string_view bytes = peer.connection.receive();
      if (bytes.empty()) return;
      if (peer.kind == Kind::Stream) return count_messages(peer, bytes);
      if (!peer.busy) throw std::runtime_error("[connection] bytes came that nobody asked for");
      if (!peer.reader.take(bytes)) return;
    } catch (const std::runtime_error& broken) {
      return peer.kind == Kind::Client ? replace(index, broken.what()) : close_peer(peer);
    }
    const std::string wrong = options_.check(peer.reader.answer());
    wrong.empty() ? count(peer) : fail(wrong);
    peer.reader.clear();
    peer.busy = false;
    --in_flight_;
    free_.push_back(index);
  }

  void count(const Peer& peer) {
    const Clock::time_point now = Clock::now();
    last_answer_ = now;
    const bool by_number = options_.requests > 0;
    if (by_number || (now >= begin_ && now < end_)) ++result_.answered;
    if (by_number || (peer.since >= begin_ && peer.since < end_))
      result_.milliseconds.push_back(1000 * seconds_between(peer.since, now));
  }

  /// Both end with an empty line.
  void count_messages(Peer& stream, std::string_view bytes) {
    for (const char letter : bytes) {
      if (letter == '\r') continue;
      if (letter == '\n' && stream.last == '\n') ++result_.stream_messages;
      stream.last = letter;
    }
  }

  void close_peer(Peer& peer) {
    peer.closed = true;
    epoll_ctl(epoll_.number, EPOLL_CTL_DEL, peer.connection.file(), nullptr);
  }

  /// A client whose connection broke has a new one. Throws where the server takes none.
  void replace(size_t index, const std::string& why) {
    fail(why);
    Peer& peer = peers_[index];
    if (peer.busy) --in_flight_;
    peer.busy = false;
    peer.reader.clear();
    {
      const Connection broken = std::move(peer.connection);
      peer.connection = Connection(options_.port);
    }
    peer.connection.stop_waiting();
    watch(index, EPOLL_CTL_ADD);
    if (std::find(free_.begin(), free_.end(), index) == free_.end()) free_.push_back(index);
  }

  const LoadOptions& options_;
  const File epoll_, timer_;
  std::vector<Peer> peers_;
  std::vector<size_t> free_;  // clients without a request
  Clock::time_point begin_, end_, next_due_, last_answer_;
  uint64_t in_flight_ = 0, begun_ = 0;
  LoadResult result_;
};

}  // namespace

LoadResult run_load(const LoadOptions& options) {
  return Load(options).run();
}

}  // namespace wan::bench
