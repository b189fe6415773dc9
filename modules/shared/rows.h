#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "confparse/schema.h"

// Directives that several modules have under prefixes of their own (proxy_bind, grpc_bind): one
// list of rows, a template over the prefix.
namespace weir {

// A literal as a template argument.
template <size_t Size>
struct FixedText {
  char text[Size] = {};
  constexpr FixedText(const char (&literal)[Size]) {  // implicit: kJoined<"proxy_", "bind">
    for (size_t i = 0; i < Size; ++i) text[i] = literal[i];
  }
  constexpr size_t size() const { return Size - 1; }
};

template <FixedText Prefix, FixedText Name>
struct Joined {
  static constexpr auto kText = [] {
    std::array<char, Prefix.size() + Name.size()> text{};
    for (size_t i = 0; i < Prefix.size(); ++i) text[i] = Prefix.text[i];
    for (size_t i = 0; i < Name.size(); ++i) text[Prefix.size() + i] = Name.text[i];
    return text;
  }();
};

// "proxy_" and "bind" as one text of the program's life.
template <FixedText Prefix, FixedText Name>
inline constexpr std::string_view kJoined{Joined<Prefix, Name>::kText.data(),
                                          Joined<Prefix, Name>::kText.size()};

// The rows of several lists, as a module's `directives` wants them.
template <class... Lists>
constexpr auto join_rows(const Lists&... lists) {
  std::array<conf::Directive, (sizeof(Lists) + ...) / sizeof(conf::Directive)> all{};
  size_t at = 0;
  const auto append = [&all, &at](const auto& list) {
    for (const conf::Directive& row : list) all[at++] = row;
  };
  (append(lists), ...);
  return all;
}

}  // namespace weir
