import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./style/tokens.css";
import "./style/base.css";
import "./style/layout.css";
import "./style/panels.css";
import "./style/trust.css";
import "./style/fleet.css";
import "./style/past.css";
import "./style/phone.css";
import { App } from "./App.tsx";
import { startRoute } from "./state/route.ts";
import { startTheme } from "./state/theme.ts";

startTheme();
startRoute();
const root = document.getElementById("app");
if (root) render(<App />, root);
