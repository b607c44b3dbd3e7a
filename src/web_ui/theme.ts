/**
 * Light or dark: as the system is, until the user says otherwise.
 * @module
 */
import { useEffect, useState } from "preact/hooks";

export type Theme = "auto" | "light" | "dark";
const KEY = "rockpool-theme";

function known(text: string | null): Theme {
  return text === "light" || text === "dark" ? text : "auto";
}

/** A page that goes on at another master brings its choice along: each master is a site of its own. */
export function initialTheme(): Theme {
  const brought = new URLSearchParams(location.search).get("theme");
  if (brought !== null) localStorage.setItem(KEY, known(brought));
  return known(localStorage.getItem(KEY));
}

export function applyTheme(theme: Theme): void {
  document.documentElement.dataset["theme"] = theme;
  localStorage.setItem(KEY, theme);
  dispatchEvent(new Event("themechange"));
}

/** Changes with the colours in force: whoever paints by itself paints anew. */
export function useColours(): (name: string) => string {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const changed = () => setVersion((before) => before + 1);
    const media = matchMedia("(prefers-color-scheme: dark)");
    media.addEventListener("change", changed);
    addEventListener("themechange", changed);
    return () => {
      media.removeEventListener("change", changed);
      removeEventListener("themechange", changed);
    };
  }, []);
  void version;
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name).trim();
}
