#include "tools/cli/compare_output.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "engine/compare/fidelity.h"
#include "engine/request/params.h"

namespace wan {
namespace {

using Json = nlohmann::ordered_json;

std::string fixed(double value, int decimals, bool with_sign = false) {
  char text[64];
  std::snprintf(text, sizeof text, with_sign ? "%+.*f" : "%.*f", decimals, value);
  return text;
}

int decimals_of(const Measure& measure) {
  return measure.unit == "dB" ? 2 : 4;
}

/// A table of texts: the first column stands left, the others right.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows.at(0).size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - row[i].size(), ' ');
      text += i == 0 ? row[i] + blanks : "  " + blanks + row[i];
    }
    text += "\n";
  }
  return text;
}

std::vector<std::string> row_of(const Measure& measure, const std::vector<double>& times) {
  const Summary summary = measure.summary(times);
  const std::string name = measure.shown + (measure.unit.empty() ? "" : " " + measure.unit);
  if (!summary.mean) return {name, "identical", "-", "-", "-", "-", "-", "-"};
  const auto text = [&](const std::optional<double>& value) { return value ? value_text(measure, *value) : "-"; };
  const int more = decimals_of(measure) + 1;
  return {name,
          text(summary.mean),
          value_text(measure, measure.values[*summary.worst]),
          std::to_string(*summary.worst),
          seconds_text(times[*summary.worst]) + " s",
          summary.per_second ? fixed(*summary.per_second, more, /*with_sign=*/true) : "-",
          text(summary.first_quarter),
          text(summary.last_quarter)};
}

std::string file_line(const char* letter, const ComparedFile& file) {
  std::string line = std::string(letter) + "  " + file.name + "  " + std::to_string(file.info.width) + "x" +
                     std::to_string(file.info.height);
  if (file.is_picture) return line + ", a picture\n";
  line += ", " + std::to_string(file.info.frames) + (file.info.frames == 1 ? " frame" : " frames");
  if (file.info.rate.numerator > 0)
    line += ", " + number_text(std::round(file.info.rate.value() * 1000) / 1000) + " a second";
  return line + "\n";
}

Json file_json(const ComparedFile& file) {
  Json json = {{"file", file.name},
               {"width", file.info.width},
               {"height", file.info.height},
               {"frames", file.info.frames},
               {"rate", nullptr}};
  if (file.info.rate.numerator > 0) json["rate"] = file.info.rate.value();
  return json;
}

/// A number, or null where there is none.
Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json number(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json measure_json(const Measure& measure, const std::vector<double>& times) {
  const Summary summary = measure.summary(times);
  Json json = {{"better", measure.worse == Worse::Lower ? "higher" : "lower"},
               {"frames", summary.counted},
               {"mean", number(summary.mean)},
               {"worst", nullptr},
               {"drift",
                {{"per_second", number(summary.per_second)},
                 {"first_quarter", number(summary.first_quarter)},
                 {"last_quarter", number(summary.last_quarter)},
                 {"change", nullptr}}}};
  if (summary.worst)
    json["worst"] = {
        {"frame", *summary.worst}, {"time", times[*summary.worst]}, {"value", measure.values[*summary.worst]}};
  if (summary.first_quarter) json["drift"]["change"] = *summary.last_quarter - *summary.first_quarter;
  return json;
}

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string value_text(const Measure& measure, double value) {
  return fixed(value, decimals_of(measure));
}

std::string seconds_text(double seconds) {
  return fixed(seconds, 2);
}

std::string to_text(const Comparison& comparison) {
  const size_t frames = comparison.times.size();
  std::string text = file_line("A", comparison.a) + file_line("B", comparison.b);
  text += std::to_string(frames) + (frames == 1 ? " frame" : " frames") + " compared in 8-bit RGB, ";
  text += comparison.equal_frames == 0                ? "none"
          : size_t(comparison.equal_frames) == frames ? "all"
                                                      : std::to_string(comparison.equal_frames);
  text += " identical\n\n";
  std::vector<std::vector<std::string>> rows = {
      {"", "mean", "worst", "frame", "at", "drift a second", "first quarter", "last quarter"}};
  for (const Measure& measure : comparison.measures) rows.push_back(row_of(measure, comparison.times));
  text += table(rows);
  if (comparison.equal_frames > 0 && size_t(comparison.equal_frames) < frames)
    text += "Identical frames have no PSNR and are in none of its numbers; that of the mean error of all frames is " +
            value_text(comparison.measures[0], psnr(comparison.mean_squared_error)) + " dB.\n";
  return text;
}

void write_json(const Comparison& comparison, std::ostream& out) {
  const double of_mean = psnr(comparison.mean_squared_error);
  Json head = {{"a", file_json(comparison.a)},
               {"b", file_json(comparison.b)},
               {"frames", comparison.times.size()},
               {"identical_frames", comparison.equal_frames},
               {"mean_squared_error", comparison.mean_squared_error},
               {"notes", to_json(comparison.notes)}};
  for (const Measure& measure : comparison.measures) {
    head[measure.name] = measure_json(measure, comparison.times);
    if (measure.name == "psnr") head[measure.name]["of_mean_error"] = number(of_mean);
    if (measure.name == "lpips") head[measure.name]["of"] = measure.shown;
  }
  const std::string text = dumped(head);
  out << text.substr(0, text.size() - 1) << ",\"per_frame\":[";
  for (size_t i = 0; i < comparison.times.size(); ++i) {
    Json frame = {{"frame", i}, {"time", comparison.times[i]}};
    for (const Measure& measure : comparison.measures) frame[measure.name] = number(measure.values[i]);
    out << (i == 0 ? "\n" : ",\n") << dumped(frame);
  }
  out << "\n]}\n";
}

}  // namespace wan
