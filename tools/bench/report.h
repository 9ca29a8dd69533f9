// What a run of wan-bench leaves: one JSON file, from which table, comparison and plot are made.
// tools/bench_baseline.py writes the same for other engines.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace wan::bench {

/// Raised with every change of the file that an older reader would misread.
inline constexpr int kSchema = 1;

/// One way to compute one thing, measured.
struct Row {
  std::string suite;    // ceilings, ops, block, step, vae, t5, mlperf, profile
  std::string name;     // "self-attention"
  std::string shape;    // "720p, 75600 tokens"
  std::string backend;  // "cudnn"
  bool ours = false;
  std::vector<double> milliseconds;  // one for each sample
  double flops = 0, bytes = 0;       // of one launch; 0: not counted
  std::string ceiling;               // which of Report::ceilings bounds it
  double error = -1;                 // relative L2 against float64; negative: nobody looked
  double bound = 0;                  // the largest error with which it counts as right
  double peak_bytes = 0;             // device memory; 0: not measured
  std::string note;
  std::string published = {};  // where others published the figure, which was not measured here; empty: measured

  bool is_published() const { return !published.empty(); }
  double median() const;
  /// Operations (bytes where there are none) per second.
  double rate() const;
};

/// What was to be measured and was not.
struct LeftOut {
  std::string suite, name, shape, backend, why;
};

struct Report {
  std::string command, commit;
  /// gpu, driver, cuda, cudnn, torch; clocks_before and clocks_after with power and temperature, as nvidia-smi says it.
  std::map<std::string, std::string> environment;
  /// Measured in the same process, per second: copy, read, l2_read in bytes; bf16, fp16, fp8, int8 in operations; exp.
  std::map<std::string, double> ceilings;
  std::vector<Row> rows;
  std::vector<LeftOut> left_out;

  /// Part of its ceiling that a row reaches; 0 where that is not known.
  double share(const Row& row) const;
  /// How many times faster a row is than the fastest library on the same thing, measured here; 0 where there is none.
  double against_library(const Row& row) const;
};

nlohmann::json to_json(const Report& report);
/// Throws std::invalid_argument that names what is missing or of another kind; `label` is what messages call it.
Report report_of(const nlohmann::json& json, const std::string& label);
/// The same of a file's text, and of a file; they throw std::invalid_argument where it is none of ours.
Report parse_report(const std::string& text, const std::string& label);
Report read_report(const std::filesystem::path& file);
/// Whole or not at all. Throws std::runtime_error where the disk refuses.
void write_file(const std::filesystem::path& file, const std::string& content);

/// A Markdown table of the rows, what was left out below it.
std::string table(const Report& report);
/// The key of Report::environment that says whether a run of a published benchmark kept its settings: "yes", or "no: "
/// and in what it differs.
inline constexpr const char* kComparable = "comparable";
/// The key that says how a network differs from the released one: "small, of 2 blocks". Absent: it is that one.
inline constexpr const char* kNetwork = "network";
/// Whether its timings are invented: of tools/gpu_check.sh --rehearse.
bool is_stand_in(const Report& report);
/// What makes a report unfit to be published: missing ceilings, errors, names of machine or commit. Empty: fit.
std::vector<std::string> complaints(const Report& report);
/// Both side by side: back ends of one name with each other, else the fastest of each.
std::string compare(const Report& a, const Report& b);
/// The roofline as SVG: ceilings as lines, every row with known operations and bytes as a point.
std::string roofline(const Report& report);

}  // namespace wan::bench
