// The reports that people read: a table, and two of them side by side.
#include <algorithm>
#include <cstdio>
#include <set>
#include <tuple>

#include "tools/bench/report.h"
#include "tools/bench/statistics.h"

namespace wan::bench {
namespace {

std::string text(const char* format, double value) {
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

std::string milliseconds(const Row& row) {
  const Summary summary = summarise(row.milliseconds);
  return text("%.4g", summary.median) + text(" (%.4g", summary.p10) + text("-%.4g)", summary.p90);
}

std::string rate(const Row& row) {
  if (row.flops <= 0 && row.bytes <= 0) return "";
  return row.flops > 0 ? text("%.4g TFLOP/s", row.rate() / 1e12) : text("%.3g TB/s", row.rate() / 1e12);
}

std::string line(const std::vector<std::string>& cells) {
  std::string out = "|";
  for (const std::string& cell : cells) out += " " + cell + " |";
  return out + "\n";
}

const Row* fastest(const std::vector<const Row*>& rows) {
  return *std::min_element(rows.begin(), rows.end(),
                           [](const Row* a, const Row* b) { return a->median() < b->median(); });
}

/// Rows that were measured for the same case.
std::vector<const Row*> same_case(const Report& report, const Row& row) {
  std::vector<const Row*> found;
  for (const Row& other : report.rows)
    if (!other.is_published() && other.name == row.name && other.shape == row.shape) found.push_back(&other);
  return found;
}

/// Ours in bold; what others published says so in its own cell.
std::string back_end(const Row& row) {
  if (row.is_published()) return row.backend + " (published, not measured here)";
  return row.ours ? "**" + row.backend + "**" : row.backend;
}

}  // namespace

std::string table(const Report& report) {
  std::string out = line({"case", "shape", "back end", "ms (p10-p90)", "rate", "of ceiling", "x best library",
                          "rel. L2", "peak GB", "note"}) +
                    "|---|---|---|---|---|---|---|---|---|---|\n";
  for (const Row& row : report.rows) {
    const double share = report.share(row), ratio = report.against_library(row);
    const std::string source = row.is_published() ? "published: " + row.published + (row.note.empty() ? "" : "; ") : "";
    out += line({row.name, row.shape, back_end(row), milliseconds(row), rate(row),
                 share > 0 ? text("%.0f %%", 100 * share) + " " + row.ceiling : "",
                 row.ours && ratio > 0 ? text("%.2f", ratio) : "", row.error >= 0 ? text("%.2e", row.error) : "",
                 row.peak_bytes > 0 ? text("%.1f", row.peak_bytes / 1e9) : "", source + row.note});
  }
  for (const LeftOut& item : report.left_out)
    out += "\nleft out: " + item.name + ", " + item.shape + (item.backend.empty() ? "" : ", " + item.backend) + ": " +
           item.why;
  return out + (report.left_out.empty() ? "" : "\n");
}

std::string compare(const Report& a, const Report& b) {
  std::string out = "A: " + a.command + " (" + a.commit + ")\nB: " + b.command + " (" + b.commit + ")\n\n" +
                    line({"case", "shape", "A", "A ms", "B", "B ms", "A is faster by"}) +
                    "|---|---|---|---|---|---|---|\n";
  const auto add = [&](const Row& left, const Row& right) {
    out += line({left.name, left.shape, left.backend, text("%.4g", left.median()), right.backend,
                 text("%.4g", right.median()), text("%.2fx", right.median() / left.median())});
  };
  std::set<std::pair<std::string, std::string>> done;
  for (const Row& row : a.rows) {
    if (row.is_published() || !done.insert({row.name, row.shape}).second) continue;
    const std::vector<const Row*> left = same_case(a, row), right = same_case(b, row);
    if (right.empty()) continue;
    bool shared = false;
    for (const Row* one : left) {
      for (const Row* other : right) {
        if (one->backend != other->backend) continue;
        add(*one, *other);
        shared = true;
      }
    }
    if (!shared) add(*fastest(left), *fastest(right));
  }
  return out;
}

}  // namespace wan::bench
