#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace weir::conf::test {

// One file of tests/golden:
//
//   the configuration (nginx.conf)
//   ++++ conf.d/a.conf          optional further files, each with its own name
//   text of that file
//   ----
//   what is printed: nginx's lines, then the explained view; "ok" when nothing is
//
// A last line "(oracle: no, REASON)" keeps the case from the comparison with nginx.
struct GoldenCase {
  std::filesystem::path path;
  std::map<std::string, std::string> files;  // by name relative to the folder of nginx.conf
  std::string expected;
  std::string not_for_oracle;  // the reason; empty: compare
};

inline constexpr const char* kGoldenFolder = "/etc/nginx/";

GoldenCase read_golden(const std::filesystem::path& path);
std::vector<std::filesystem::path> golden_paths();

// What confparse prints for the case.
std::string print_diagnostics(const GoldenCase& golden);

}  // namespace weir::conf::test
