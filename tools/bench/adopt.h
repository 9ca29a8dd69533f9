// `wan-bench adopt`: what the figures of a run of tools/gpu_check.sh say of the defaults, and their way into results/
// and the README.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include "tools/bench/report.h"

namespace wan::bench {

/// What the script left in its folder.
struct Findings {
  std::string date;  // of the run, "2026-01-31"
  bool rehearsal = false;
  std::map<std::string, std::string> states;  // of its parts, by their names: "done", "failed with 1"
  std::map<std::string, Report> reports;      // by file name, "step-720p.json"
};
/// With the results that are in its results.tar.gz alone. Throws std::invalid_argument where the folder holds no
/// plan.json, a file that is none of ours, or a damaged archive.
Findings read_findings(const std::filesystem::path& folder);

/// A default, and whether the figures would have it otherwise.
struct Decision {
  enum class Verdict { Keep, Change, NotMeasured };
  std::string subject;
  Verdict verdict;
  std::string why;  // the figures, and the limit that they are compared with
};
/// All that there are rules for. The limits are those that
/// were set before anything was measured.
std::vector<Decision> decide(const Findings& findings);
/// A line for each: "CHANGE wgmma for 8-bit attention: ...".
std::string to_text(const std::vector<Decision>& decisions);

/// Seconds of forwards and of the VAE beside the fastest library's, and GPU seconds of a benchmark's video beside the
/// fewest that others have published for the same card, in Markdown.
std::string headline(const Findings& findings);
/// `text` with `content` in place of what lies between the lines <!-- NAME --> and <!-- end of NAME -->. Throws
/// std::invalid_argument where it has no such lines.
std::string with_section(const std::string& text, const std::string& name, const std::string& content);

/// Prints the reports that are not fit to be published, and the decisions and the table of the others; unless `dry`,
/// copies these, and their rooflines, into results/<gpu>/<date>/ of the checkout `root` and the table into its README.
/// Returns false where nothing was written: a rehearsal, or no report that is fit; `out` says why.
bool adopt(const Findings& findings, const std::filesystem::path& root, bool dry, std::ostream& out);

}  // namespace wan::bench
