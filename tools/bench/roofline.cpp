// The roofline: what a card could do at an operation's ratio of arithmetic to memory, and what was reached.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tools/bench/report.h"

namespace wan::bench {
namespace {

constexpr double kWidth = 960, kHeight = 600, kLeft = 80, kRight = 200, kTop = 30, kBottom = 60;

/// Decades of both axes, and where a value lies on the page.
struct Page {
  double x_low, x_high, y_low, y_high;  // log10

  double x(double intensity) const {
    return kLeft + (std::log10(intensity) - x_low) / (x_high - x_low) * (kWidth - kLeft - kRight);
  }
  double y(double rate) const {
    return kHeight - kBottom - (std::log10(rate) - y_low) / (y_high - y_low) * (kHeight - kTop - kBottom);
  }
};

template <typename... Values>
std::string text(const char* format, Values... values) {
  char buffer[512];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

std::string escaped(const std::string& plain) {
  std::string out;
  for (char c : plain)
    out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : std::string(1, c);
  return out;
}

std::string label(double x, double y, const std::string& words, const char* extra = "") {
  return text("<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, extra) + escaped(words) + "</text>\n";
}

std::string segment(double x1, double y1, double x2, double y2, const char* stroke) {
  return text("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2, stroke);
}

bool is_point(const Row& row) {
  return row.flops > 0 && row.bytes > 0;
}

Page page_of(const Report& report) {
  Page page{0, 4, 12, 15};
  for (const Row& row : report.rows) {
    if (!is_point(row)) continue;
    page.x_low = std::min(page.x_low, std::floor(std::log10(row.flops / row.bytes)));
    page.x_high = std::max(page.x_high, std::ceil(std::log10(row.flops / row.bytes)));
    page.y_low = std::min(page.y_low, std::floor(std::log10(row.rate())));
  }
  for (const auto& [name, rate] : report.ceilings)
    if (rate > 0) page.y_high = std::max(page.y_high, std::ceil(std::log10(rate)));
  return page;
}

std::string axes(const Page& page) {
  std::string out;
  const double bottom = kHeight - kBottom, right = kWidth - kRight;
  for (double decade = page.x_low; decade <= page.x_high; ++decade) {
    const double x = page.x(std::pow(10, decade));
    out += segment(x, kTop, x, bottom, "#ddd") +
           label(x, bottom + 18, text("%g", std::pow(10, decade)), "text-anchor=\"middle\"");
  }
  for (double decade = page.y_low; decade <= page.y_high; ++decade) {
    const double y = page.y(std::pow(10, decade));
    out += segment(kLeft, y, right, y, "#ddd") +
           label(kLeft - 6, y + 4, text("%g", std::pow(10, decade - 12)), "text-anchor=\"end\"");
  }
  return out + label((kLeft + right) / 2, kHeight - 16, "operations per byte", "text-anchor=\"middle\"") +
         label(8, kTop - 10, "TFLOP/s");
}

/// The slope of the memory up to the flat line of the arithmetic.
std::string ceiling(const Page& page, const std::string& name, double memory, double rate) {
  const double low = std::pow(10, page.x_low), high = std::pow(10, page.x_high), knee = rate / memory;
  std::string out = segment(page.x(std::clamp(knee, low, high)), page.y(rate), page.x(high), page.y(rate), "#333");
  const double start = std::max(low, std::pow(10, page.y_low) / memory), end = std::clamp(knee, start, high);
  out += segment(page.x(start), page.y(start * memory), page.x(end), page.y(end * memory), "#333");
  return out + label(page.x(high) + 6, page.y(rate) + 4, name + text(" %.0f", rate / 1e12));
}

}  // namespace

std::string roofline(const Report& report) {
  const Page page = page_of(report);
  std::string out =
      text(
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" font-family=\"sans-serif\" "
          "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
          kWidth, kHeight) +
      axes(page);
  const auto memory = report.ceilings.find("copy");
  for (const char* name : {"bf16", "fp8", "int8"}) {
    const auto found = report.ceilings.find(name);
    if (found != report.ceilings.end() && found->second > 0 && memory != report.ceilings.end() && memory->second > 0)
      out += ceiling(page, name, memory->second, found->second);
  }
  for (const Row& row : report.rows) {
    if (!is_point(row)) continue;
    out += text("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"><title>", page.x(row.flops / row.bytes),
                page.y(row.rate()), row.ours ? "#c2185b" : "#607d8b") +
           escaped(row.name + ", " + row.shape + ", " + row.backend) + "</title></circle>\n";
  }
  return out + label(kWidth - kRight + 6, kHeight - kBottom, "red: this engine; grey: libraries") + "</svg>\n";
}

}  // namespace wan::bench
