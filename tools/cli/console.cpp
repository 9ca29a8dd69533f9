#include "tools/cli/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/params.h"
#include "tools/cli/refusal.h"
#include "tools/cli/signals.h"

namespace wan {

namespace {

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

/// Whether the steps of a stage are bytes.
bool is_in_bytes(Stage stage) {
  return stage == Stage::Fetch || stage == Stage::Upload;
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

namespace {

/// "7 bytes", "3.7 MB": one decimal, powers of ten.
std::string size_text(double bytes) {
  constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB"};
  char text[48];
  if (bytes < 1000) {
    std::snprintf(text, sizeof text, "%.0f %s", bytes, bytes == 1 ? "byte" : "bytes");
    return text;
  }
  size_t unit = 0;
  for (bytes /= 1000; bytes >= 999.95 && unit + 1 < std::size(kUnits); bytes /= 1000) ++unit;
  std::snprintf(text, sizeof text, "%.1f %s", bytes, kUnits[unit]);
  return text;
}

/// Whether a field is so many of `unit`, by its name: "bytes", "peak_bytes", "bytes_ahead", "seconds_of_sound".
bool counts(const std::string& key, const std::string& unit) {
  return key == unit || key.ends_with("_" + unit) || key.starts_with(unit + "_");
}

/// One field of a line: 3.7 MB and 1 min 20 s for people, exact figures for the rest.
std::string field_text(const std::string& key, const Log::Fields& value, bool for_people) {
  if (for_people && value.is_number()) {
    if (counts(key, "bytes")) return "\"" + size_text(value.get<double>()) + "\"";
    if (counts(key, "seconds")) return "\"" + duration(value.get<double>()) + "\"";
  }
  if (value.is_number_float()) {
    char number[32];
    std::snprintf(number, sizeof number, "%.4g", value.get<double>());
    return number;
  }
  const std::string text = value.dump(-1, ' ', false, Log::Fields::error_handler_t::replace);
  return value.is_string() && text.find(' ') == std::string::npos ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

std::string log_line(std::string_view event, const Log::Fields& fields, bool for_people, const std::string& command) {
  if (event == "note") {
    const std::string change = fields.value("change", ""), field = fields.value("subject", "");
    const std::string subject = fields.contains("line") ? "line " + fields["line"].dump() + ", " + field
                                : find_parameter(field) ? typed_name(command, field)
                                                        : field;
    return "note [" + subject + "] " + fields.value("text", "") + (change.empty() ? "" : "; " + change);
  }
  if (event == "quality") {
    const std::string change = fields.value("change", ""),
                      line = fields.contains("line") ? "line " + fields["line"].dump() + ", " : "";
    return "quality [" + line + fields.value("out", "") + "] " + fields.value("text", "") +
           (change.empty() ? "" : "; " + change);
  }
  std::string text(event);
  for (const auto& [key, value] : fields.items()) text += " " + key + "=" + field_text(key, value, for_people);
  return text;
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
    case Stage::Compare:
      return "compare";
    case Stage::Upload:
      return "upload";
  }
  return "";
}

Console::Console(Format format, std::string command)
    : format_(format), command_(std::move(command)), terminal_(format == Format::Text && isatty(STDERR_FILENO)) {}

Console::~Console() {
  clear_bar();
}

void Console::check() {
  if (signal_that_came() != 0) throw Cancelled();
}

void Console::at(const Report& report) {
  check();
  auto now = Clock::now();
  // The end of a download may become known on the way.
  const bool counts_anew = report.step < step_ || (!is_in_bytes(report.stage) && report.steps != steps_);
  const bool begins =
      report.stage != stage_ || report.job != job_ || counts_anew || stage_start_ == Clock::time_point{};
  step_ = report.step;
  steps_ = report.steps;
  if (begins) {
    clear_bar();
    stage_ = report.stage;
    job_ = report.job;
    stage_start_ = now;
    stage_first_ = report.step;
    stage_share_ = report.done();
  }
  if (!is_due(report, begins, now)) return;
  int64_t done = report.step - stage_first_;
  const double seconds = std::chrono::duration<double>(now - stage_start_).count(),
               share = report.done() - stage_share_;
  draw(report, done > 0 ? seconds / double(done) : 0,
       share > 0 ? seconds * std::max(1 - report.done(), 0.0) / share : 0);
}

/// Lines that stay are few: a stage's first and last, and between them one in 10 s or 10 %. A program that reads JSON gets
/// every step, but not every piece of a download.
bool Console::is_due(const Report& report, bool begins, Clock::time_point now) {
  if (terminal_ || (format_ == Format::Json && !is_in_bytes(report.stage))) return true;
  if (!begins && report.step == line_step_) return false;  // it stands there
  const bool ends = report.step + 1 >= report.steps && !is_in_bytes(report.stage);
  const bool far = !is_in_bytes(report.stage) && (report.step - line_step_) * 10 >= report.steps;
  if (!begins && !ends && !far && now - line_at_ < std::chrono::seconds(10)) return false;
  line_at_ = now;
  line_step_ = report.step;
  return true;
}

void Console::draw(const Report& report, double seconds_each, double remaining) {
  if (format_ == Format::Json) {
    Log::Fields fields = {
        {"event", "progress"}, {"stage", name(report.stage)}, {"step", report.step}, {"steps", report.steps}};
    if (!report.expert.empty()) fields["expert"] = report.expert;
    if (!report.job.empty()) fields["job"] = report.job;
    if (seconds_each > 0 && !is_in_bytes(report.stage))
      fields["seconds_per_step"] = seconds_each, fields["eta_seconds"] = remaining;
    if (report.batch_seconds) fields["batch_eta_seconds"] = *report.batch_seconds;
    std::fprintf(stderr, "%s\n", fields.dump(-1, ' ', false, Log::Fields::error_handler_t::replace).c_str());
    return;
  }
  char rate[64] = "";
  if (seconds_each > 0 && !is_in_bytes(report.stage))
    std::snprintf(rate, sizeof rate, "  %.2f s/step  ETA %s", seconds_each, clock_text(remaining).c_str());
  const std::string label = (report.job.empty() ? "" : report.job + " ") + name(report.stage);
  const std::string figures =
      (is_in_bytes(report.stage) ? bytes_text(report, seconds_each, remaining)
                                 : std::to_string(report.step) + "/" + std::to_string(report.steps)) +
      (report.expert.empty() ? "" : "  " + report.expert + " noise") + rate +
      (report.batch_seconds ? "  all " + clock_text(*report.batch_seconds) : "");
  if (!terminal_) {
    std::fprintf(stderr, "%s %s\n", label.c_str(), figures.c_str());
    return;
  }
  std::fprintf(stderr, "\r\033[K%s", bar_line(label, report.done(), figures, terminal_columns()).c_str());
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
    std::fprintf(stderr, "%s\n", log_line(event, fields, terminal_, command_).c_str());
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
