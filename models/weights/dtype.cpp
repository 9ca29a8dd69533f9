#include "models/weights/dtype.h"

#include <array>

namespace wan {

namespace {

constexpr std::array<DtypeWords, 16> kDtypes = {{
    {at::kDouble, "F64", "DoubleStorage", "float64"},
    {at::kFloat, "F32", "FloatStorage", "float32"},
    {at::kHalf, "F16", "HalfStorage", "float16"},
    {at::kBFloat16, "BF16", "BFloat16Storage", "bfloat16"},
    {at::kFloat8_e4m3fn, "F8_E4M3", "", "float8_e4m3fn"},
    {at::kFloat8_e5m2, "F8_E5M2", "", "float8_e5m2"},
    {at::kFloat8_e8m0fnu, "F8_E8M0", "", "float8_e8m0fnu"},
    {at::kLong, "I64", "LongStorage", "int64"},
    {at::kInt, "I32", "IntStorage", "int32"},
    {at::kShort, "I16", "ShortStorage", "int16"},
    {at::kChar, "I8", "CharStorage", "int8"},
    {at::kUInt64, "U64", "", "uint64"},
    {at::kUInt32, "U32", "", "uint32"},
    {at::kUInt16, "U16", "", "uint16"},
    {at::kByte, "U8", "ByteStorage", "uint8"},
    {at::kBool, "BOOL", "BoolStorage", "bool"},
}};

std::optional<at::ScalarType> find(std::string_view DtypeWords::*spelling, std::string_view word) {
  for (const DtypeWords& entry : kDtypes) {
    if (!word.empty() && entry.*spelling == word) return entry.dtype;
  }
  return std::nullopt;
}

}  // namespace

std::optional<at::ScalarType> dtype_of_safetensors(std::string_view word) {
  return find(&DtypeWords::safetensors, word);
}
std::optional<at::ScalarType> dtype_of_storage(std::string_view word) {
  return find(&DtypeWords::storage, word);
}
std::optional<at::ScalarType> dtype_of_torch(std::string_view word) {
  return find(&DtypeWords::torch, word);
}

std::string_view dtype_name(at::ScalarType dtype) {
  for (const DtypeWords& entry : kDtypes) {
    if (entry.dtype == dtype) return entry.safetensors;
  }
  return "?";
}

}  // namespace wan
