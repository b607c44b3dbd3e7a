/**
 * Where the user is: a page and its parameters, in the part of the address behind the #.
 * @module
 */
import { useEffect, useState } from "preact/hooks";

export type Route = { readonly page: string; readonly query: URLSearchParams };

export function parseRoute(hash: string): Route {
  const [page = "", search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return { page: page === "" ? "overview" : page, query: new URLSearchParams(search) };
}

export function hrefOf(
  page: string,
  parameters: Readonly<Record<string, string | number>> = {},
): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) search.set(name, String(value));
  const text = search.toString();
  return `#/${page}${text === "" ? "" : `?${text}`}`;
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    let shown = location.hash;
    const onChange = () => {
      // A place within the page, as the link that skips to the content has: the address stays that of the page.
      if (!location.hash.startsWith("#/") && location.hash !== "")
        history.replaceState(null, "", shown || "#/");
      else setRoute(parseRoute(location.hash));
      shown = location.hash;
    };
    addEventListener("hashchange", onChange);
    return () => removeEventListener("hashchange", onChange);
  }, []);
  return route;
}
