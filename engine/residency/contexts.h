// The kernels' Contexts of a process, one for each device that is used.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "kernels/attention/selector.h"
#include "kernels/op/context.h"

namespace wan {

/// Jobs that share one take over its measurements of attention, and its pinned choices: of those on one device, one may
/// run at a time. Thread-safe.
class Contexts {
 public:
  /// `memory` is where the choices of attention outlive the process.
  explicit Contexts(kernels::Options options = {}, kernels::AttentionMemory memory = {});

  const kernels::Options& options() const { return options_; }
  /// Made when it is first asked for. Throws c10::Error as kernels::make_context.
  std::shared_ptr<kernels::Context> on(at::Device device);

 private:
  const kernels::Options options_;
  const kernels::AttentionMemory memory_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<kernels::Context>> made_;  // by the device's name
};

}  // namespace wan
