// What a program shows while it works: a bar on a terminal, plain lines elsewhere, or JSON lines; and Ctrl-C.
#pragma once

#include <chrono>
#include <string>

#include "engine/base/log.h"
#include "engine/base/progress.h"

namespace wan {

/// Draws progress and log lines on stderr. SIGINT and SIGTERM end the job at the next step; a second one ends the
/// process.
class Console : public Progress {
 public:
  enum class Format { Text, Json };
  explicit Console(Format format);
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
  void draw(const Report& report, double seconds_each, double remaining);

  Format format_;
  bool terminal_;
  bool bar_shown_ = false;
  Stage stage_ = Stage::Load;
  std::string job_;
  Clock::time_point stage_start_{}, fetch_line_{};
  int64_t stage_first_ = 0;
};

/// The bar of a terminal with `columns`: label, how much of 1 is done, figures. Always shorter than a row.
std::string bar_line(const std::string& label, double done, const std::string& figures, int columns);

/// "denoise" and so on: the words of logs and reports.
const char* name(Stage stage);

}  // namespace wan
