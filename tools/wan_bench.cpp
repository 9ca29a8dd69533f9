// wan-bench: speed and memory on this machine, without a checkpoint.
#include <ATen/Parallel.h>

#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tools/bench/cpu.h"

namespace {

constexpr char kUsage[] =
    "wan-bench cpu [--runs N] [--threads N] [ROW...]   the networks on the CPU; tools/bench_cpu_baseline.py is the "
    "other side\n";

int positive(const std::string& flag, const std::string& text) {
  size_t used = 0;
  int value = 0;
  try {
    value = std::stoi(text, &used);
  } catch (const std::exception&) {
  }
  if (used != text.size() || value < 1)
    throw std::invalid_argument("[" + flag + "] must be 1 or more, got '" + text + "'");
  return value;
}

void run(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] != "cpu")
    throw std::invalid_argument("[wan-bench] what to measure must be given: cpu");
  int runs = 5;
  std::vector<std::string> rows;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (word != "--runs" && word != "--threads") {
      rows.push_back(word);
      continue;
    }
    if (++i == arguments.size()) throw std::invalid_argument("[" + word + "] needs a number");
    const int value = positive(word, arguments[i]);
    if (word == "--runs")
      runs = value;
    else
      at::set_num_threads(value);
  }
  wan::bench::cpu(rows, runs, std::cout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h")) {
    std::cout << kUsage;
    return 0;
  }
  try {
    run(arguments);
  } catch (const std::invalid_argument& error) {
    std::cerr << error.what() << "\n" << kUsage;
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
