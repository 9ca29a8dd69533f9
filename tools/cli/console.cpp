#include "tools/cli/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "engine/base/error.h"

namespace wan {

namespace {

std::atomic<bool> g_stop{false};

void on_signal(int number) {
  if (g_stop.exchange(true)) {
    // The second signal: the step takes too long for the user.
    std::signal(number, SIG_DFL);
    raise(number);
  }
}

std::string clock_text(double seconds) {
  char text[32];
  int64_t whole = int64_t(seconds + 0.5);
  if (whole >= 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", long(whole / 3600), long(whole / 60 % 60), long(whole % 60));
  else
    std::snprintf(text, sizeof text, "%ld:%02ld", long(whole / 60), long(whole % 60));
  return text;
}

/// "3.7 of 9.2 MB  1.2 MB/s  ETA 0:05"; what is not known is left out.
std::string bytes_text(const Report& report, double seconds_each, double remaining) {
  const auto megabytes = [](double bytes) {
    char number[32];
    std::snprintf(number, sizeof number, "%.1f", bytes / 1e6);
    return std::string(number);
  };
  std::string text = megabytes(double(report.step));
  if (report.steps > 0) text += " of " + megabytes(double(report.steps));
  text += " MB";
  if (seconds_each > 0) text += "  " + megabytes(1 / seconds_each) + " MB/s";
  return seconds_each > 0 && report.steps > 0 ? text + "  ETA " + clock_text(remaining) : text;
}

int terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string bar_line(const std::string& label, double done, const std::string& figures, int columns) {
  constexpr int kLabel = 8, kShortest = 5, kLongest = 30;
  std::string line = label + std::string(size_t(std::max(0, kLabel - int(label.size()))), ' ');
  const int room = columns - 1 - int(line.size() + std::strlen(" [] ") + figures.size());
  const int width = std::clamp(room, kShortest, kLongest), filled = int(width * std::clamp(done, 0.0, 1.0));
  line += " [" + std::string(size_t(filled), '#') + std::string(size_t(width - filled), '.') + "] " + figures;
  // A line that wraps stays on the screen: the next one clears only its last row.
  return line.substr(0, size_t(std::max(1, columns - 1)));
}

const char* name(Stage stage) {
  switch (stage) {
    case Stage::Fetch:
      return "fetch";
    case Stage::Load:
      return "load";
    case Stage::Encode:
      return "encode";
    case Stage::Denoise:
      return "denoise";
    case Stage::Decode:
      return "decode";
    case Stage::Write:
      return "write";
  }
  return "";
}

Console::Console(Format format) : format_(format), terminal_(format == Format::Text && isatty(STDERR_FILENO)) {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  // A full disk or a closed pipe is an error to report, not a reason to die.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

Console::~Console() {
  clear_bar();
}

void Console::check() {
  if (g_stop) throw Cancelled();
}

void Console::at(const Report& report) {
  check();
  auto now = Clock::now();
  if (report.stage != stage_ || report.job != job_ || report.step < stage_first_ ||
      stage_start_ == Clock::time_point{}) {
    clear_bar();
    stage_ = report.stage;
    job_ = report.job;
    stage_start_ = now;
    stage_first_ = report.step;
  }
  // Bytes come without end: of the lines that stay, one is enough now and then.
  if (report.stage == Stage::Fetch && !terminal_ && now - fetch_line_ < std::chrono::seconds(10)) return;
  if (report.stage == Stage::Fetch) fetch_line_ = now;
  int64_t done = report.step - stage_first_;
  double each = done > 0 ? std::chrono::duration<double>(now - stage_start_).count() / double(done) : 0;
  draw(report, each, each * double(std::max<int64_t>(report.steps - report.step, 0)));
}

void Console::draw(const Report& report, double seconds_each, double remaining) {
  if (format_ == Format::Json) {
    Log::Fields fields = {
        {"event", "progress"}, {"stage", name(report.stage)}, {"step", report.step}, {"steps", report.steps}};
    if (!report.expert.empty()) fields["expert"] = report.expert;
    if (!report.job.empty()) fields["job"] = report.job;
    if (seconds_each > 0 && report.stage != Stage::Fetch)
      fields["seconds_per_step"] = seconds_each, fields["eta_seconds"] = remaining;
    if (report.batch_seconds) fields["batch_eta_seconds"] = *report.batch_seconds;
    std::fprintf(stderr, "%s\n", fields.dump(-1, ' ', false, Log::Fields::error_handler_t::replace).c_str());
    return;
  }
  char rate[64] = "";
  if (seconds_each > 0 && report.stage != Stage::Fetch)
    std::snprintf(rate, sizeof rate, "  %.2f s/step  ETA %s", seconds_each, clock_text(remaining).c_str());
  const std::string label = (report.job.empty() ? "" : report.job + " ") + name(report.stage);
  const std::string figures =
      (report.stage == Stage::Fetch ? bytes_text(report, seconds_each, remaining)
                                    : std::to_string(report.step) + "/" + std::to_string(report.steps)) +
      (report.expert.empty() ? "" : "  " + report.expert + " noise") + rate +
      (report.batch_seconds ? "  all " + clock_text(*report.batch_seconds) : "");
  if (!terminal_) {
    std::fprintf(stderr, "%s %s\n", label.c_str(), figures.c_str());
    return;
  }
  const double done = report.steps > 0 ? double(report.step) / double(report.steps) : 0;
  std::fprintf(stderr, "\r\033[K%s", bar_line(label, done, figures, terminal_columns()).c_str());
  std::fflush(stderr);
  bar_shown_ = true;
}

void Console::clear_bar() {
  if (bar_shown_) std::fprintf(stderr, "\n");
  bar_shown_ = false;
}

Log Console::log() {
  return Log{[this](std::string_view event, const Log::Fields& fields) {
    clear_bar();
    if (format_ == Format::Json) {
      Log::Fields line = {{"event", event}};
      line.update(fields);
      std::fprintf(stderr, "%s\n", line.dump(-1, ' ', false, Log::Fields::error_handler_t::replace).c_str());
      return;
    }
    std::string text(event);
    for (const auto& [key, value] : fields.items()) {
      std::string shown = value.dump(-1, ' ', false, Log::Fields::error_handler_t::replace);
      if (value.is_string() && shown.find(' ') == std::string::npos) shown = shown.substr(1, shown.size() - 2);
      if (value.is_number_float()) {
        char number[32];
        std::snprintf(number, sizeof number, "%.4g", value.get<double>());
        shown = number;
      }
      text += " " + key + "=" + shown;
    }
    std::fprintf(stderr, "%s\n", text.c_str());
  }};
}

void Console::say(const std::string& text) {
  clear_bar();
  if (format_ == Format::Json)
    std::fprintf(stderr, "%s\n",
                 Log::Fields{{"event", "message"}, {"text", text}}
                     .dump(-1, ' ', false, Log::Fields::error_handler_t::replace)
                     .c_str());
  else
    std::fprintf(stderr, "%s\n", text.c_str());
}

}  // namespace wan
