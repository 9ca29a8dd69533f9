// What the server is told of a job that failed.
#pragma once

#include <exception>
#include <nlohmann/json.hpp>
#include <string>

namespace wan {

/// The message "failed" (engine/serve/work/protocol.h), with the kind that follows from the exception: request, model,
/// cancelled, device, disk or machine.
nlohmann::json failed_message(const std::string& job, const std::exception_ptr& failure);

}  // namespace wan
