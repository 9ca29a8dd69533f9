#include "tools/cli/compare_plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include "models/files/error.h"
#include "tools/cli/compare_output.h"

namespace wan {
namespace {

// Pixels. A panel is a heading, the chart and the room for the numbers below it.
constexpr double kWidth = 860, kLeft = 72, kRight = 24, kTop = 64, kHeading = 26, kChart = 160, kBelow = 34, kFoot = 26;
constexpr double kPanel = kHeading + kChart + kBelow;

constexpr const char* kStyle =
    "<style>\n"
    ".ground{fill:#ffffff}.text{fill:#24292f}.faint{fill:#57606a}.grid{stroke:#d8dee4}.axis{stroke:#8c959f}\n"
    ".line{fill:none;stroke:#0969da;stroke-width:1.5}.dot{fill:#0969da}.worst{fill:none;stroke:#bc4c00;stroke-width:2}"
    "\n"
    ".mark{fill:#bc4c00}.mean{stroke:#57606a;stroke-dasharray:4 4}\n"
    "@media (prefers-color-scheme:dark){\n"
    ".ground{fill:#0d1117}.text{fill:#e6edf3}.faint{fill:#9198a1}.grid{stroke:#262c36}.axis{stroke:#6e7681}\n"
    ".line{stroke:#58a6ff}.dot{fill:#58a6ff}.worst{stroke:#f0883e}.mark{fill:#f0883e}.mean{stroke:#9198a1}\n"
    "}\n"
    "</style>\n";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

/// A coordinate: two decimals.
std::string at(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

std::string text_at(double x, double y, const char* kind, const char* anchor, const std::string& words) {
  return "<text x=\"" + at(x) + "\" y=\"" + at(y) + "\" class=\"" + kind + "\" text-anchor=\"" + anchor + "\">" +
         escaped(words) + "</text>\n";
}

std::string line_at(const char* kind, double x1, double y1, double x2, double y2) {
  return std::string("<line class=\"") + kind + "\" x1=\"" + at(x1) + "\" y1=\"" + at(y1) + "\" x2=\"" + at(x2) +
         "\" y2=\"" + at(y2) + "\"/>\n";
}

/// A range of an axis with round numbers on it, 1, 2 or 5 times a power of ten apart.
struct Axis {
  double low, high, step;
  int decimals;

  /// Wide enough for both. `most`: of numbers.
  static Axis over(double low, double high, int most) {
    if (const double size = std::max({std::abs(low), std::abs(high), 1.0}); high - low < 1e-9 * size)
      low -= .05 * size, high += .05 * size;
    double step = std::pow(10, std::floor(std::log10((high - low) / most)));
    for (const double factor : {2.0, 2.5, 2.0}) {
      if ((high - low) / step <= most) break;
      step *= factor;
    }
    return {low, high, step, std::max(0, int(-std::floor(std::log10(step) + 1e-9)))};
  }
  /// The same, from a round number to a round number.
  Axis rounded() const { return {std::floor(low / step) * step, std::ceil(high / step) * step, step, decimals}; }
  double part(double value) const { return (value - low) / (high - low); }
  std::vector<double> numbers() const {
    std::vector<double> list;
    for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) list.push_back(i * step);
    return list;
  }
  std::string text(double number) const {
    char words[32];
    std::snprintf(words, sizeof words, "%.*f", decimals, number == 0 ? 0.0 : number);
    return words;
  }
};

using Points = std::vector<std::pair<double, double>>;  // times and values

/// Of each so many neighbouring frames the lowest and the highest, so that at most kMostPlotted are left. What is not finite
/// stays as a gap.
Points thinned(const std::vector<double>& times, const std::vector<double>& values) {
  const size_t together = values.size() <= kMostPlotted ? 1 : 2 * values.size() / kMostPlotted + 1;
  Points points;
  for (size_t first = 0; first < values.size(); first += together) {
    const size_t end = std::min(values.size(), first + together);
    size_t low = end, high = end;
    for (size_t i = first; i < end; ++i) {
      if (!std::isfinite(values[i])) continue;
      if (low == end || values[i] < values[low]) low = i;
      if (high == end || values[i] > values[high]) high = i;
    }
    if (low == end) {
      points.emplace_back(times[first], values[first]);
      continue;
    }
    points.emplace_back(times[std::min(low, high)], values[std::min(low, high)]);
    if (low != high) points.emplace_back(times[std::max(low, high)], values[std::max(low, high)]);
  }
  return points;
}

/// One chart.
class Panel {
 public:
  Panel(const Measure& measure, const std::vector<double>& times, const Axis& time, double top)
      : measure_(measure), times_(times), time_(time), top_(top + kHeading), summary_(measure.summary(times)) {}

  std::string svg() {
    const std::string unit = measure_.unit.empty() ? "" : " (" + measure_.unit + ")";
    std::string svg =
        text_at(kLeft, top_ - 9, "text", "start",
                measure_.shown + unit + (measure_.worse == Worse::Lower ? ", higher is nearer" : ", lower is nearer"));
    if (!summary_.mean) {
      svg += frame();
      return svg + text_at((kLeft + kWidth - kRight) / 2, top_ + kChart / 2, "faint", "middle",
                           "all frames are identical: there is no finite value");
    }
    const auto [low, high] = range();
    value_ = Axis::over(low, high, 5).rounded();
    // No SSIM is above 1, nothing else below 0.
    if (measure_.name == "ssim")
      value_.high = std::min(value_.high, 1.0);
    else
      value_.low = std::max(value_.low, 0.0);
    svg += frame();
    for (const double number : value_.numbers()) {
      svg += line_at("grid", kLeft, y(number), kWidth - kRight, y(number));
      svg += text_at(kLeft - 8, y(number) + 4, "faint", "end", value_.text(number));
    }
    svg += line_at("mean", kLeft, y(*summary_.mean), kWidth - kRight, y(*summary_.mean));
    return svg + lines() + worst();
  }

 private:
  double x(double time) const { return kLeft + time_.part(time) * (kWidth - kLeft - kRight); }
  double y(double value) const { return top_ + (1 - value_.part(value)) * kChart; }

  std::pair<double, double> range() const {
    double low = *summary_.mean, high = low;
    for (const double value : measure_.values)
      if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
    return {low, high};
  }

  /// Both axes, and the numbers of the time.
  std::string frame() const {
    std::string svg;
    for (const double second : time_.numbers()) {
      svg += line_at("grid", x(second), top_, x(second), top_ + kChart);
      svg += text_at(x(second), top_ + kChart + 18, "faint", "middle", time_.text(second));
    }
    svg += line_at("axis", kLeft, top_, kLeft, top_ + kChart);
    return svg + line_at("axis", kLeft, top_ + kChart, kWidth - kRight, top_ + kChart);
  }

  std::string lines() const {
    std::string svg;
    Points run;
    const auto draw = [&] {
      if (run.size() == 1)
        svg +=
            "<circle class=\"dot\" cx=\"" + at(x(run[0].first)) + "\" cy=\"" + at(y(run[0].second)) + "\" r=\"2\"/>\n";
      if (run.size() > 1) {
        svg += "<polyline class=\"line\" points=\"";
        for (size_t i = 0; i < run.size(); ++i)
          svg += (i ? " " : "") + at(x(run[i].first)) + "," + at(y(run[i].second));
        svg += "\"/>\n";
      }
      run.clear();
    };
    for (const auto& point : thinned(times_, measure_.values)) {
      if (std::isfinite(point.second))
        run.push_back(point);
      else
        draw();
    }
    draw();
    return svg;
  }

  std::string worst() const {
    const double time = times_[*summary_.worst], value = measure_.values[*summary_.worst];
    return "<circle class=\"worst\" cx=\"" + at(x(time)) + "\" cy=\"" + at(y(value)) + "\" r=\"4\"/>\n" +
           text_at(kWidth - kRight, top_ - 9, "mark", "end",
                   "worst " + value_text(measure_, value) + " at " + seconds_text(time) + " s (frame " +
                       std::to_string(*summary_.worst) + ")");
  }

  const Measure& measure_;
  const std::vector<double>& times_;
  const Axis& time_;
  double top_;
  Summary summary_;
  Axis value_{0, 1, 1, 0};
};

/// What a reader of the screen hears.
std::string described(const Comparison& comparison) {
  const size_t frames = comparison.times.size();
  std::string text = std::to_string(frames) + (frames == 1 ? " frame compared." : " frames compared.");
  for (const Measure& measure : comparison.measures) {
    const Summary summary = measure.summary(comparison.times);
    if (!summary.mean) {
      text += " " + measure.shown + ": all frames are identical.";
      continue;
    }
    text += " " + measure.shown + ": mean " + value_text(measure, *summary.mean) + ", worst " +
            value_text(measure, measure.values[*summary.worst]) + " at " +
            seconds_text(comparison.times[*summary.worst]) + " seconds.";
  }
  return text;
}

}  // namespace

std::string svg_of(const Comparison& comparison) {
  const double height = kTop + kPanel * double(comparison.measures.size()) + kFoot;
  const std::string title = comparison.a.name + " and " + comparison.b.name + ", frame by frame";
  const double last = comparison.times.empty() ? 0 : comparison.times.back();
  const Axis time = Axis::over(0, last > 0 ? last : 1, 10);
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + at(kWidth) + "\" height=\"" + at(height) +
                    "\" viewBox=\"0 0 " + at(kWidth) + " " + at(height) +
                    "\" role=\"img\" aria-labelledby=\"title desc\" font-family=\"system-ui, sans-serif\" "
                    "font-size=\"13\">\n<title id=\"title\">" +
                    escaped(title) + "</title>\n<desc id=\"desc\">" + escaped(described(comparison)) + "</desc>\n" +
                    kStyle;
  svg += "<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n";
  svg += "<text x=\"" + at(kLeft) + "\" y=\"28\" class=\"text\" font-size=\"16\">" + escaped(title) + "</text>\n";
  svg += text_at(kLeft, 48, "faint", "start", "of each frame; dashed: the mean");
  double top = kTop;
  for (const Measure& measure : comparison.measures) {
    svg += Panel(measure, comparison.times, time, top).svg();
    top += kPanel;
  }
  svg += text_at((kLeft + kWidth - kRight) / 2, top + 10, "faint", "middle", "time in A, seconds");
  return svg + "</svg>\n";
}

}  // namespace wan
