// The tables that codes of ggml's IQ types look up, packed in hexadecimal digits.
#pragma once

namespace wan::kernels::ggml {

extern const char kIq2XxsGrid[];  // 256 rows of 8 values
extern const char kIq2XsGrid[];   // 512 of 8
extern const char kIq2SGrid[];    // 1024 of 8
extern const char kIq3XxsGrid[];  // 256 of 4
extern const char kIq3SGrid[];    // 512 of 4
extern const char kIq1SGrid[];    // 2048 of 8

}  // namespace wan::kernels::ggml
