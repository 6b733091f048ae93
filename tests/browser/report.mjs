// Opens a report in a headless browser, uses it as a reader does, and prints what it shows as JSON.
import chromium from "@sparticuz/chromium";
import puppeteer from "puppeteer-core";

const [file, picture] = process.argv.slice(2);
const browser = await puppeteer.launch({
  args: [...chromium.args, "--no-sandbox"],
  executablePath: await chromium.executablePath(),
  headless: "shell",
  defaultViewport: { width: 1500, height: 1200 },
});
const page = await browser.newPage();
const errors = [], requests = [];
page.on("pageerror", (error) => errors.push(error.message));
page.on("request", (request) => requests.push(request.url()));
await page.goto(`file://${file}`);
await page.waitForSelector("body[data-ready]", { timeout: 60000 });

const state = () =>
  page.evaluate(() => ({
    boxes: document.querySelectorAll(".node").length,
    clusters: document.querySelectorAll(".cluster").length,
    edges: document.querySelectorAll(".edge").length,
    chosen: [...document.querySelectorAll("#fused .chosen")].map((row) => row.textContent),
    lines: [...document.querySelectorAll("#source .line")].map((row) => row.textContent),
    recorded: document.querySelectorAll("#recorded .line").length,
    node: document.querySelectorAll(".node.chosen").length,
    code: document.getElementById("code").textContent,
    detail: document.getElementById("detail").textContent,
    scale: document.getElementById("view").getAttribute("transform"),
    phases: [...document.querySelectorAll("#legend li")].map((item) => item.textContent),
    kernels: document.querySelectorAll("#kernels tbody tr").length,
  }));
const click = (selector) => page.$eval(selector, (element) => element.dispatchEvent(new MouseEvent("click", { bubbles: true })));

// A text that is decompressed appears later.
const form = async (name) => {
  const before = await page.$eval("#code", (element) => element.textContent);
  await click(`#forms [data-form=${name}]`);
  await page.waitForFunction((old) => document.getElementById("code").textContent !== old, { timeout: 10000 }, before);
  if (picture) await page.screenshot({ path: picture.replace(/(\.\w+)$/, `-${name}$1`), fullPage: true });
  return state();
};

const shown = { first: await state() };
await click("#less");
shown.collapsed = await state();
for (let level = 0; level < 6; level++) await click("#more");
shown.expanded = await state();
await click("#kernels tbody tr");
shown.kernel = await state();
shown.llvm = await form("llvm");
shown.asm = await form("asm");
await form("source");
await click("#source [data-line] s");
shown.line = await state();
await click("#code [data-kernel]");
shown.again = await state();
await click("#in");
shown.zoomed = await state();
if (picture) await page.screenshot({ path: picture });
await browser.close();
console.log(JSON.stringify({ ...shown, errors, requests }));
