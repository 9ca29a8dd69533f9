// What a program shows while it works: a bar on a terminal, plain lines elsewhere, or JSON lines.
#pragma once

#include <chrono>
#include <string>

#include "engine/base/log.h"
#include "engine/base/progress.h"

namespace wan {

/// Draws progress and log lines on stderr. A signal (signals.h) ends the job at the next step.
class Console : public Progress {
 public:
  enum class Format { Text, Json };
  /// `command` decides how lines of a single job name the fields of its request: as its flags.
  explicit Console(Format format, std::string command = {});
  ~Console() override;
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void at(const Report& report) override;  // throws Cancelled after a signal
  void check() override;                   // the same
  /// A log whose lines appear here, above the bar.
  Log log();
  /// One line for the user: the text as it is, or {"event": "message"}.
  void say(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;
  void clear_bar();
  bool is_due(const Report& report, bool begins, Clock::time_point now);
  void draw(const Report& report, double seconds_each, double remaining);

  Format format_;
  std::string command_;
  bool terminal_;
  bool bar_shown_ = false;
  Stage stage_ = Stage::Load;
  std::string job_;
  Clock::time_point stage_start_{}, line_at_{};
  double stage_share_ = 0;                   // Report::done() where the stage began
  int64_t stage_first_ = 0, line_step_ = 0;  // the step at which the stage began, and of the last line that was written
  int64_t step_ = 0, steps_ = 0;             // of the last report
};

/// One event as text: "load network=VAE seconds=0.12", "note [subject] text; change". `for_people`: bytes and seconds in
/// units that are read at a glance. The subject of a note that belongs to no line of a manifest is a flag of `command`,
/// where that has it.
std::string log_line(std::string_view event, const Log::Fields& fields, bool for_people,
                     const std::string& command = {});

/// The bar of a terminal with `columns`: label, how much of 1 is done, figures. Always shorter than a row.
std::string bar_line(const std::string& label, double done, const std::string& figures, int columns);

/// "denoise" and so on: the words of logs and reports.
const char* name(Stage stage);

}  // namespace wan
