#include "tools/bench/timeline.h"

#include <ATen/record_function.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

namespace wan::bench {
namespace {

using kernels::RangeKind, kernels::RangeWork;

class ClockMarks : public Marks {
 public:
  explicit ClockMarks(std::function<double()> clock) : clock_(std::move(clock)) {}
  size_t mark() override {
    seconds_.push_back(clock_());
    return seconds_.size() - 1;
  }
  std::vector<double> milliseconds() override {
    std::vector<double> all;
    for (double second : seconds_) all.push_back((second - seconds_[0]) * 1000);
    return all;
  }

 private:
  const std::function<double()> clock_;
  std::vector<double> seconds_;
};

/// Takes down what begins and ends in the thread that made it, while it lives.
class Recorder : public kernels::RangeObserver {
 public:
  explicit Recorder(Marks& marks) : marks_(marks) {
    if (current_) throw std::logic_error("[profile] one time line at a time in a thread");
    current_ = this;
    before_ = kernels::observe_ranges(this);
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(begin_aten, end_aten).scopes({at::RecordScope::FUNCTION}));
  }
  ~Recorder() override {
    at::removeCallback(handle_);
    current_ = nullptr;
    kernels::observe_ranges(before_);
  }

  void begin(RangeKind kind, const char* name, int64_t number, const RangeWork& work) override {
    open({.kind = kind, .name = name, .number = number, .work = work, .ours = true});
  }
  void end() override { close(); }

  /// With times.
  std::vector<TimedRange> finished() {
    const std::vector<double> at = marks_.milliseconds();
    for (size_t i = 0; i < ranges_.size(); ++i) {
      TimedRange& range = ranges_[i];
      range.begin = at[moments_[i].first];
      range.end = at[moments_[i].second];
      range.own += range.length();
      if (range.parent >= 0) ranges_[size_t(range.parent)].own -= range.length();
    }
    return ranges_;
  }

 private:
  void open(TimedRange range) {
    range.depth = int(open_.size());
    range.parent = open_.empty() ? -1 : int(open_.back());
    open_.push_back(ranges_.size());
    operations_ += range.kind == RangeKind::Operation;
    ranges_.push_back(std::move(range));
    const size_t moment = marks_.mark();
    moments_.push_back({moment, moment});
  }
  void close() {
    const size_t range = open_.back();
    open_.pop_back();
    operations_ -= ranges_[range].kind == RangeKind::Operation;
    moments_[range].second = marks_.mark();
  }

  /// Of ATen's operations those count that no other operation is made of.
  static std::unique_ptr<at::ObserverContext> begin_aten(const at::RecordFunction& function) {
    struct Opened : at::ObserverContext {};
    if (!current_ || current_->operations_ > 0) return nullptr;
    current_->open({.kind = RangeKind::Operation, .name = function.name(), .number = -1, .work = {}, .ours = false});
    return std::make_unique<Opened>();
  }
  static void end_aten(const at::RecordFunction&, at::ObserverContext* opened) {
    if (opened && current_) current_->close();
  }

  static thread_local Recorder* current_;
  Marks& marks_;
  kernels::RangeObserver* before_ = nullptr;
  at::CallbackHandle handle_ = 0;
  std::vector<TimedRange> ranges_;
  std::vector<std::pair<size_t, size_t>> moments_;  // of each range
  std::vector<size_t> open_;                        // the ranges that have begun, outermost first
  int operations_ = 0;                              // among them
};

thread_local Recorder* Recorder::current_ = nullptr;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

std::unique_ptr<Marks> clock_marks(std::function<double()> clock) {
  return std::make_unique<ClockMarks>(clock ? std::move(clock) : steady_seconds);
}

std::vector<TimedRange> time_line(Marks& marks, const char* name, const std::function<void()>& work) {
  Recorder recorder(marks);
  {
    const kernels::Range all(RangeKind::Phase, name);
    work();
  }
  return recorder.finished();
}

std::string chrome_trace(const std::vector<TimedRange>& ranges, const std::string& title) {
  using nlohmann::json;
  const auto kind_name = [](const TimedRange& range) {
    const char* names[] = {"phase", "step", "block", "operation"};
    return range.ours ? names[size_t(range.kind)] : "ATen";
  };
  json events = json::array({{{"name", "process_name"}, {"ph", "M"}, {"pid", 1}, {"args", {{"name", title}}}}});
  for (const TimedRange& range : ranges) {
    json arguments = json::object();
    if (range.work.flops > 0) arguments["flops"] = range.work.flops;
    if (range.work.bytes > 0) arguments["bytes"] = range.work.bytes;
    if (range.work.rows > 0) arguments["shape"] = {range.work.rows, range.work.in, range.work.out};
    events.push_back({{"name", range.number < 0 ? range.name : range.name + " " + std::to_string(range.number)},
                      {"cat", kind_name(range)},
                      {"ph", "X"},  // an event with its length; both in microseconds
                      {"ts", 1000 * range.begin},
                      {"dur", 1000 * range.length()},
                      {"pid", 1},
                      {"tid", range.depth},
                      {"args", arguments}});
  }
  return json{{"displayTimeUnit", "ms"}, {"traceEvents", events}}.dump() + "\n";
}

}  // namespace wan::bench
